"""Runs SentencePiece's own library. `train TYPE SIZE FALLBACK TEXT PREFIX` trains a model, with byte fallback if FALLBACK is `bytes`.
`encode MODEL` reads a JSON string from each line and prints its ids."""
import json
import sys

import sentencepiece as spm


def train(kind, size, fallback, text, prefix):
    spm.SentencePieceTrainer.train(
        input=text, model_prefix=prefix, model_type=kind, vocab_size=int(size), byte_fallback=fallback == "bytes",
        character_coverage=0.9995, minloglevel=2, num_threads=1, max_sentence_length=100000)


def encode(model):
    processor = spm.SentencePieceProcessor(model_file=model)
    for line in sys.stdin:
        print(json.dumps(processor.encode(json.loads(line))))


{"train": train, "encode": encode}[sys.argv[1]](*sys.argv[2:])
