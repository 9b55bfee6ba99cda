"""Runs SentencePiece's own library. `train TYPE SIZE FALLBACK TEXT PREFIX` trains a model, with byte fallback if FALLBACK is `bytes`.
`encode MODEL` reads a JSON string from each line and prints its ids. `time MODEL TEXT SECONDS` encodes the documents of a JSON file and prints
megabytes of UTF-8 per CPU second."""
import json
import sys
import time

import sentencepiece as spm


def train(kind, size, fallback, text, prefix):
    spm.SentencePieceTrainer.train(
        input=text, model_prefix=prefix, model_type=kind, vocab_size=int(size), byte_fallback=fallback == "bytes",
        character_coverage=0.9995, minloglevel=2, num_threads=1, max_sentence_length=100000)


def encode(model):
    processor = spm.SentencePieceProcessor(model_file=model)
    for line in sys.stdin:
        print(json.dumps(processor.encode(json.loads(line))))


def measure(model, text, seconds):
    processor = spm.SentencePieceProcessor(model_file=model)
    documents = json.load(open(text, encoding="utf-8"))
    size = sum(len(document.encode()) for document in documents)
    rates = []
    start = time.time()
    while time.time() - start < float(seconds):
        begin = time.process_time()
        for document in documents:
            processor.encode(document)
        rates.append(size / 1e6 / (time.process_time() - begin))
    print(json.dumps(sorted(rates)[len(rates) // 2]))


{"train": train, "encode": encode, "time": measure}[sys.argv[1]](*sys.argv[2:])
