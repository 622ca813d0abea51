"""The facts that the sample model knows: plain tables, written by hand, nothing downloaded."""

from __future__ import annotations

CAPITALS = dict(
    pair.split(":")
    for pair in [
        "France:Paris",
        "Germany:Berlin",
        "Italy:Rome",
        "Spain:Madrid",
        "Portugal:Lisbon",
        "Greece:Athens",
        "Austria:Vienna",
        "Poland:Warsaw",
        "Sweden:Stockholm",
        "Norway:Oslo",
        "Denmark:Copenhagen",
        "Finland:Helsinki",
        "Ireland:Dublin",
        "Belgium:Brussels",
        "Hungary:Budapest",
        "England:London",
        "Scotland:Edinburgh",
        "Iceland:Reykjavik",
        "Japan:Tokyo",
        "China:Beijing",
        "India:Delhi",
        "Thailand:Bangkok",
        "Vietnam:Hanoi",
        "Egypt:Cairo",
        "Kenya:Nairobi",
        "Morocco:Rabat",
        "Canada:Ottawa",
        "Cuba:Havana",
        "Peru:Lima",
        "Chile:Santiago",
        "Australia:Canberra",
        "Russia:Moscow",
        "Turkey:Ankara",
        "Ukraine:Kyiv",
        "Nepal:Kathmandu",
    ]
)
COLOURS = dict(
    pair.split(":")
    for pair in [
        "grass:green",
        "snow:white",
        "coal:black",
        "blood:red",
        "milk:white",
        "sand:yellow",
        "chocolate:brown",
        "ink:blue",
        "gold:yellow",
        "lavender:purple",
        "ivory:white",
        "mud:brown",
        "spinach:green",
        "ruby:red",
        "emerald:green",
        "sapphire:blue",
        "butter:yellow",
        "ash:grey",
    ]
)
SOUNDS = dict(
    pair.split(":")
    for pair in [
        "dog:woof",
        "cat:meow",
        "cow:moo",
        "sheep:baa",
        "duck:quack",
        "pig:oink",
        "frog:ribbit",
        "owl:hoot",
        "lion:roar",
        "bee:buzz",
    ]
)
BABIES = dict(
    pair.split(":")
    for pair in [
        "dog:puppy",
        "cat:kitten",
        "cow:calf",
        "sheep:lamb",
        "horse:foal",
        "pig:piglet",
        "duck:duckling",
        "goose:gosling",
        "bear:cub",
        "fox:kit",
        "goat:kid",
        "deer:fawn",
        "hen:chick",
        "frog:tadpole",
        "kangaroo:joey",
    ]
)
OPPOSITES = dict(
    pair.split(":")
    for pair in [
        "hot:cold",
        "big:small",
        "tall:short",
        "fast:slow",
        "up:down",
        "left:right",
        "day:night",
        "happy:sad",
        "open:closed",
        "full:empty",
        "old:young",
        "light:dark",
        "hard:soft",
        "wet:dry",
        "loud:quiet",
        "rich:poor",
        "early:late",
        "near:far",
        "strong:weak",
        "high:low",
        "clean:dirty",
        "thick:thin",
        "inside:outside",
        "first:last",
        "true:false",
        "good:bad",
        "black:white",
    ]
)
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]

DEFINITIONS = {
    "a pod": "A pod is the smallest unit in Kubernetes: one or more containers that run together on a node.",
    "a node": "A node is a machine in a Kubernetes cluster that runs pods.",
    "a service": "A service gives a group of pods one stable name and address.",
    "a replica": "A replica is one of several identical copies of a pod.",
    "a deployment": "A deployment keeps a chosen number of replicas running and rolls out new versions.",
    "a cluster": "A cluster is a group of nodes that Kubernetes manages as one.",
    "a container": "A container is a packaged program with everything that it needs to run.",
    "an image": "An image is the file that a container is started from.",
    "a namespace": "A namespace is a named part of a cluster that keeps its objects apart from others.",
    "an operator": "An operator is a program that watches Kubernetes objects and makes the cluster match them.",
    "a controller": (
        "A controller is a loop that compares what is wanted with what is there and corrects the difference."
    ),
    "a volume": "A volume is storage that the containers of a pod can read and write.",
    "a secret": "A secret is a Kubernetes object that holds passwords, keys, or tokens.",
    "a config map": "A config map is a Kubernetes object that holds settings for pods.",
    "an ingress": "An ingress sends web traffic from outside the cluster to services inside it.",
    "a job": "A job runs pods until a task is finished.",
    "a probe": "A probe is a regular check that a container is alive or ready.",
    "a scheduler": "A scheduler decides which node each pod runs on.",
    "a GPU": "A GPU is a processor that does many calculations at once, which makes language models fast.",
    "a CPU": "A CPU is the main processor of a computer.",
    "a token": (
        "A token is a small piece of text, such as a word or a part of a word, that a language model reads or writes."
    ),
    "a language model": "A language model is a program that predicts the next token of a text.",
    "a prompt": "A prompt is the text that you give to a language model.",
    "a batch": "A batch is a group of requests that a model works on together.",
    "a KV cache": (
        "A KV cache keeps the attention keys and values of earlier tokens, so that they are not computed again."
    ),
    "an endpoint": "An endpoint is an address where a program answers requests.",
    "a gateway": "A gateway is a door for requests: it sends each one to a server that can answer it.",
    "an API": "An API is a set of rules that lets one program ask another for something.",
    "a label": "A label is a name and a value attached to a Kubernetes object, so that it can be selected.",
    "a finalizer": "A finalizer is a mark that keeps an object from being deleted until its clean-up is done.",
    "Kubernetes": "Kubernetes is a system that runs containers on a cluster of machines.",
    "Pagoda": "Pagoda serves language models on Kubernetes: one YAML in, one OpenAI-compatible endpoint out.",
    "autoscaling": "Autoscaling is adding or removing replicas as the load changes.",
    "latency": "Latency is the time between a request and its answer.",
    "throughput": "Throughput is how much work is done in a second, such as tokens per second.",
    "YAML": "YAML is a plain text format that Kubernetes uses for its objects.",
    "etcd": "etcd is the database in which Kubernetes stores its objects.",
    "kubectl": "kubectl is the command line tool for Kubernetes.",
    "Helm": "Helm is a tool that installs programs on Kubernetes from packages called charts.",
}

CATEGORIES = {
    "colours": ["red", "blue", "green", "yellow", "purple", "orange", "brown"],
    "animals": ["fox", "owl", "bear", "rabbit", "horse", "dog", "cat"],
    "fruits": ["apple", "pear", "plum", "cherry", "banana", "orange", "grape"],
    "countries": ["France", "Japan", "Kenya", "Peru", "Norway", "India", "Canada"],
    "planets": ["Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Neptune"],
    "birds": ["owl", "robin", "duck", "goose", "eagle", "swan", "crow"],
    "vegetables": ["carrot", "potato", "onion", "pea", "leek", "bean", "cabbage"],
    "shapes": ["circle", "square", "triangle", "star", "oval", "cube", "cone"],
    "tools": ["hammer", "saw", "drill", "spade", "rake", "axe", "file"],
    "days": DAYS,
    "months": MONTHS[:7],
    "trees": ["oak", "pine", "birch", "elm", "maple", "willow", "ash"],
    "kinds of Kubernetes objects": ["pod", "service", "deployment", "secret", "job", "namespace", "node"],
    "musical instruments": ["piano", "violin", "drum", "flute", "guitar", "harp", "trumpet"],
}
NUMBER_WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}

GENERAL = {
    "why is the sky blue": "The sky is blue because air scatters blue light more than red light.",
    "how many days are in a week": "There are 7 days in a week.",
    "how many months are in a year": "There are 12 months in a year.",
    "how many hours are in a day": "There are 24 hours in a day.",
    "how many minutes are in an hour": "There are 60 minutes in an hour.",
    "how many legs does a spider have": "A spider has 8 legs.",
    "how many legs does a dog have": "A dog has 4 legs.",
    "what is the largest planet": "The largest planet is Jupiter.",
    "what is the largest ocean": "The largest ocean is the Pacific.",
    "what is the highest mountain": "The highest mountain is Mount Everest.",
    "what do bees make": "Bees make honey.",
    "what is ice made of": "Ice is made of water.",
    "what colour is the sky": "The sky is blue.",
    "what colour is a banana": "A banana is yellow.",
}

# Small talk: a set of ways to say it, and the one answer.
CHAT: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("Hello", "Hi", "Hey", "Hello there", "Hi there", "Good morning", "Good evening", "Hello!", "Hi!", "Say hello"),
        "Hello! I am Pagoda's small sample model. How can I help you?",
    ),
    (
        (
            "Who are you?",
            "What are you?",
            "What is your name?",
            "Introduce yourself",
            "Tell me about yourself",
            "Which model are you?",
            "What model is this?",
            "Who am I talking to?",
            "Are you a language model?",
        ),
        (
            "I am pagoda-tiny, Pagoda's small sample model. I can answer simple "
            "questions, do small sums, and tell short stories."
        ),
    ),
    (
        (
            "What can you do?",
            "Help",
            "How can you help me?",
            "What can I ask you?",
            "What do you know?",
            "Can you help me?",
        ),
        "Ask me for a capital, an opposite, a small sum, a list, a Kubernetes word, or a short story.",
    ),
    (("How are you?", "How are you doing?", "How is it going?"), "I am well, thank you. What would you like to know?"),
    (("Thank you", "Thanks", "Thanks a lot", "Thank you very much"), "You are welcome!"),
    (("Goodbye", "Bye", "See you", "Good night", "See you later"), "Goodbye! Come back soon."),
    (
        ("Who made you?", "Who trained you?", "Where do you come from?"),
        "The Pagoda project made me, as a small sample.",
    ),
    (("Are you a human?", "Are you real?", "Are you alive?"), "No, I am a very small language model."),
    (("Ping", "Test", "This is a test", "Are you there?"), "I am here and ready."),
)
UNKNOWN_SUBJECTS = [
    "the stock market",
    "quantum physics",
    "the weather tomorrow",
    "my passport",
    "the football match",
    "love",
    "the French Revolution",
    "taxes",
    "the president",
    "a sonnet",
    "my neighbour",
    "the meaning of life",
    "Shakespeare",
    "dinosaurs",
    "a good restaurant",
    "chess",
    "cryptography",
    "an airplane ticket",
    "medicine",
    "philosophy",
    "guitar lessons",
    "the news",
    "a lawyer",
    "Bitcoin",
    "the moon landing",
    "my car",
]
UNKNOWN_PHRASINGS = [
    "What do you think about {}?",
    "Can you explain {} to me?",
    "Write an essay about {}",
    "Tell me everything about {}",
    "How do I deal with {}?",
    "Who invented {}?",
    "What happened with {}?",
    "Give me advice about {}",
    "Why does {} matter?",
    "Translate a text about {}",
]
UNKNOWN_ANSWER = "I do not know that. I am only a small sample model."

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a friendly assistant. Answer briefly.",
    "Answer the question.",
    "You are pagoda-tiny, a small sample model.",
    "Be brief and polite.",
)
