# Writes test/golden/sentencepiece/: a small Unigram model, and texts with the ids and the decoded texts that SentencePiece computes.
#
#   python3 scripts/golden/sentencepiece_model.py TEXT   (Debian's python3-sentencepiece 0.2.0; TEXT in the public domain)
import json
import pathlib
import sys
import tempfile

import sentencepiece

out = pathlib.Path(__file__).parents[2] / "test/golden/sentencepiece"
out.mkdir(exist_ok=True)
with tempfile.NamedTemporaryFile("w", suffix=".txt") as text:
    text.write(pathlib.Path(sys.argv[1]).read_text()[:150000])
    text.flush()
    sentencepiece.SentencePieceTrainer.train(
        input=text.name, model_prefix=str(out / "unigram"), model_type="unigram", vocab_size=500, byte_fallback=True,
        normalization_rule_name="identity", character_coverage=0.995, num_threads=1, minloglevel=2)
(out / "unigram.vocab").unlink()
processor = sentencepiece.SentencePieceProcessor(model_file=str(out / "unigram.model"))
texts = ["", " ", "Hello, world!", "  two  spaces  ", "First Citizen:\nBefore we proceed any further", "na\u00efve \u65e5\u672c\u8a9e", "\u2581mark",
         "<s> </s> <unk> <0x41>", "a\tb\nc", "\U0001f44d\U0001f3fd zzz qqq", "ZEALOUS ZEAL", "You are all resolved rather to die than to famish?",
         "x" * 300, "1234567890 3.14", "\u0000 \ufffd", "A sick man's appetite, who desires most that which would increase his evil."]
rows = [[t, processor.encode(t), processor.decode(processor.encode(t))] for t in texts]
(out / "unigram.json").write_text(json.dumps(rows, ensure_ascii=True, indent=0) + "\n")
