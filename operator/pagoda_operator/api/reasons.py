"""Why a condition is as it is: one word for programs, what it means, and what to do. The reference is made of this."""

from enum import StrEnum


class Reason(StrEnum):
    """The reasons that conditions and events give."""

    meaning: str
    fix: str
    """Empty where there is nothing to do."""

    def __new__(cls, word: str, meaning: str, fix: str = "") -> "Reason":
        self = str.__new__(cls, word)
        self._value_, self.meaning, self.fix = word, meaning, fix
        return self

    SERVING = "Serving", "The model answers requests."
    FETCHED = "Fetched", "The model's files are in place."
    ALL_READY = "AllReady", "Every replica is ready."
    SCALING_ACTIVE = "ScalingActive", "The HPA has its metric."
    WRITTEN = "Written", "The Ingress has been written."
    COMPLETE = "Complete", "Every replica has the current revision."
    SCALED_TO_ZERO = "ScaledToZero", "spec.replicas is 0, so nothing runs.", "Raise spec.replicas."

    ROLLOUT_FAILING = (
        "RolloutFailing",
        "An older revision serves on, and the new one does not start.",
        "Do what the message says of the new revision's pods, or set the spec back: the old pods have stayed.",
    )
    DEGRADED = (
        "Degraded",
        "The model answers requests, though a replica, or the certificate of its host, is in trouble.",
        "Do what the message says; the condition PodsReady or Ingress says the same by its own reason.",
    )

    STARTING = "Starting", "Replicas are starting, or the model is being fetched."
    PROGRESSING = "Progressing", "A rollout replaces replicas one after another."
    NO_SURGE_CAPACITY = (
        "NoSurgeCapacity",
        "No GPU is free for an additional pod during a rollout, so replicas are replaced in place.",
        "Nothing, or add a GPU so that a rollout takes no capacity away.",
    )
    PAUSED = "Paused", "The Deployment is paused.", "kubectl rollout resume deployment/NAME"
    ROLLOUT_STUCK = (
        "RolloutStuck",
        "A rollout has made no progress within its deadline.",
        "Look at the new pods: kubectl describe pod.",
    )

    ROLLOUT_STARTED = "RolloutStarted", "A rollout to another revision has begun."
    ROLLOUT_COMPLETE = "RolloutComplete", "Every replica has the current revision, and is ready."
    RESUMED = "Resumed", "The Deployment is no longer paused."
    SCALED = "Scaled", "Another number of replicas is wanted: spec.replicas was edited, or the HPA has scaled."
    CAPACITY_MEASURED = "CapacityMeasured", "The capacity of a replica is known, for this model, engine and hardware."

    INVALID_SPEC = "InvalidSpec", "The spec breaks a rule; nothing is changed.", "Correct the field that is named."
    NOT_ALLOWED = (
        "NotAllowed",
        "The chart's values do not let authors have what a field asks for; nothing is changed.",
        "Remove it, have it added to models.allowed, or ask for a profile that has it.",
    )
    NAME_TAKEN = (
        "NameTaken",
        "An object with the name of a child exists and belongs to someone else.",
        "Delete or rename it, or give the ModelDeployment another name.",
    )
    APPLY_FAILED = (
        "ApplyFailed",
        "The API server has refused an object (quota, admission, missing rights).",
        "Do what its message says; the operator tries again.",
    )
    NO_STORAGE_CLASS = (
        "NoStorageClass",
        "The StorageClass does not exist, or there is no default one.",
        "Set spec.model.cache.pvc.storageClassName to one that is listed.",
    )
    NO_INGRESS_CLASS = (
        "NoIngressClass",
        "The IngressClass does not exist, or there is neither a default nor a single one.",
        "Set spec.ingress.className to one that is listed.",
    )
    INGRESS_NOT_ALLOWED = (
        "IngressNotAllowed",
        "The chart's values do not allow this host or annotation.",
        "Choose one that is allowed, or have it added to ingress.allowedHosts or ingress.allowedAnnotations.",
    )
    HOST_TAKEN = (
        "HostTaken",
        "Another ModelDeployment has this host and path; it gets the requests, and no Ingress is written for this one.",
        "Choose another host or path, or delete the other one.",
    )
    UNKNOWN_CONTROLLER = (
        "UnknownController",
        "The Ingress has been written for a controller that is no nginx we know: streams may be buffered or cut.",
        "Set spec.ingress.className to a class of nginx, or spec.ingress.annotations to what that controller reads.",
    )
    CERTIFICATE_MISSING = (
        "CertificateMissing",
        "Who asks for the host over TLS is shown no certificate for it, though spec.ingress.tlsSecretName is set.",
        "Create that Secret in the ModelDeployment's namespace, of type kubernetes.io/tls, with a certificate for it.",
    )
    METRICS_MISSING = (
        "MetricsMissing",
        "The HPA has no figure to scale on and keeps the replicas as they are.",
        "Wait until a replica has been measured; otherwise look at the metrics API and at the pods' /load.",
    )

    MODEL_NOT_FOUND = "ModelNotFound", "The hub has no such model or revision.", "Correct spec.model.uri."
    MODEL_DOWNLOAD_DENIED = (
        "ModelDownloadDenied",
        "The hub does not let this token have the model.",
        "Accept the model's license, and set spec.model.tokenSecretRef.",
    )
    MODEL_DOWNLOAD_FAILED = (
        "ModelDownloadFailed",
        "The model could not be downloaded (network, disk space, unexpected files).",
        "Do what the message says; the download is tried again.",
    )

    PODS_NOT_CREATED = (
        "PodsNotCreated",
        "A quota, a limit range or an admission policy keeps pods from being created.",
        "Do what the message says.",
    )
    UNSCHEDULABLE = (
        "Unschedulable",
        "No node has room for the pod.",
        "Add a node, free the resource that is named, or ask for less in spec.resources.",
    )
    VOLUME_NOT_MOUNTED = "VolumeNotMounted", "The node cannot mount a volume.", "Do what the kubelet's message says."
    POD_NOT_STARTING = (
        "PodNotStarting",
        "The node does not start the pod's containers.",
        "Do what the kubelet's message says.",
    )
    SECRET_NOT_FOUND = "SecretNotFound", "A Secret that the spec names does not exist.", "Create it in this namespace."
    CONFIG_MISSING = (
        "ConfigMissing",
        "A container's configuration is incomplete, such as a key that a Secret lacks.",
        "Do what the kubelet's message says.",
    )
    IMAGE_PULL_FAILED = (
        "ImagePullFailed",
        "An image cannot be pulled.",
        "Correct the image in the chart's values, or add imagePullSecrets.",
    )
    OUT_OF_MEMORY = "OutOfMemory", "A container was killed for its memory.", "Raise spec.resources.memory."
    CRASH_LOOPING = (
        "CrashLooping",
        "A container keeps ending.",
        "Read the last line of its log in the message, or kubectl logs -p.",
    )
