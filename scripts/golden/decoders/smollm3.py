"""SmolLM 3 (Hugging Face 2025)."""
from decoder import base

CONFIGS = {
    "smollm3": base("smollm3", num_hidden_layers=5, tie_word_embeddings=True),
    "smollm3 with a window": base("smollm3", num_hidden_layers=3, no_rope_layers=[1, 0, 1], sliding_window=5,
                                  layer_types=["full_attention", "sliding_attention", "full_attention"],
                                  use_sliding_window=True),
}
