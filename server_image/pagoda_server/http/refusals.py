"""Why a field that is not built is refused, and what to do instead: the end of the sentence that begins with its name.

A field that is not here is one that nobody has built yet.
"""

from collections.abc import Mapping

TEXT_ONLY = 'is not taken: this server answers with text alone; remove it, or give ["text"]'
ONE_SERVER = "is not taken: keys and values do not travel between servers here; remove it"
NO_MEDIA = "is not taken: messages hold text alone here; remove it"
NO_BEAMS = "is not taken: no beam search is run here; remove it and use n, or best_of of /v1/completions"
NO_CODE = "is not taken: a request brings no code of its own; remove it and use logit_bias or bad_words"
OF_CHATS = "is taken by /v1/chat/completions alone: a completion is no conversation; remove it"
REFUSALS: Mapping[str, str] = {
    **dict.fromkeys(
        [
            "add_generation_prompt",
            "chat_template_kwargs",
            "continue_final_message",
            "function_call",
            "functions",
            "include_reasoning",
            "parallel_tool_calls",
            "reasoning_effort",
            "thinking_token_budget",
            "tool_choice",
            "tools",
        ],
        OF_CHATS,
    ),
    "audio": TEXT_ONLY,
    "best_of": "is taken by /v1/completions alone; use n",
    "chat_template": "is not taken from a request: a template is a program; remove it, the model's own is used",
    "detokenize": "is not taken: answers are text; use return_token_ids to have their tokens too",
    "documents": "is taken by /v1/chat/completions alone; put their text into the prompt",
    "early_stopping": NO_BEAMS,
    "ec_transfer_params": ONE_SERVER,
    "kv_transfer_params": ONE_SERVER,
    "length_penalty": NO_BEAMS,
    "logits_processors": NO_CODE,
    "logprob_token_ids": "is not taken; use logprobs with as many tokens as you need, at most 20",
    "media_io_kwargs": NO_MEDIA,
    "mm_processor_kwargs": NO_MEDIA,
    "modalities": TEXT_ONLY,
    "moderation": "is not taken: nothing is moderated here; remove it",
    "priority": "is not taken: requests take turns between tenants here; remove it or give 0",
    "prompt_embeds": "is not taken: a prompt is text or token ids; give prompt",
    "repetition_detection": "is not taken; use frequency_penalty or repetition_penalty",
    "return_prompt_text": "is not taken; ask /tokenize for the prompt's tokens, with return_token_strs",
    "return_token_offsets": "is not taken; ask /tokenize for token_strs, with return_token_strs",
    "routed_experts_prompt_start": "is not taken: which experts a token took is not told here; remove it",
    "stream_interval": "is not taken: each write has all that is new, and no more waits for it; remove it",
    "suffix": (
        "is not taken: what follows a text is written here, not what stands between two; "
        "spell both parts in prompt, as the model was trained to fill in, or remove it"
    ),
    "top_logprobs": "is taken by /v1/chat/completions alone; give logprobs as many",
    "truncation_side": "right is not taken: the last tokens of a prompt are kept; remove it or give left",
    "use_beam_search": NO_BEAMS,
    "vllm_xargs": NO_CODE,
    "watermarking": "is not taken: answers have no watermark here; remove it",
    "web_search_options": "is not taken: nothing is looked up here; put what was found into a message",
}
