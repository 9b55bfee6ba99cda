// Chat templates for tokenizers that bring none.

/** ChatML, for vocabularies that have its two tokens. */
export const chatMlTemplate = `{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content or '' }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;

/**
 * Plain text for base models: "User: …", "Assistant: …", one turn a line, the system message first, the
 * tokenizer's BOS before all and its EOS after each answer.
 */
export const plainTemplate = `{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}

{% elif message.role == 'assistant' %}Assistant: {{ message.content or '' }}{{ eos_token }}
{% else %}User: {{ message.content }}
{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}`;
