// Chat templates for tokenizers without one.

/** ChatML, for vocabularies that have its two special tokens. */
export const chatMlTemplate = `{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content or '' }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;

/**
 * Plain text for base models: one turn per line as "User: …" or "Assistant: …". The tokenizer's BOS comes first, and its EOS after each
 * answer.
 */
export const plainTemplate = `{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}

{% elif message.role == 'assistant' %}Assistant: {{ message.content or '' }}{{ eos_token }}
{% else %}User: {{ message.content }}
{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}`;
