# Writes test/golden/sentencepiece/trained.json: results of SentencePiece's Unigram and BPE trainers on the text of
# test/tokenizer/training-text.ts. The file has the pieces of each vocabulary and the text's length in tokens, and for Unigram the text's
# log-likelihood.
#
#   node scripts/golden/training_text.mjs > TEXT && python3 scripts/golden/sentencepiece_train.py TEXT
#   (Debian's python3-sentencepiece 0.2.0)
import json
import pathlib
import sys
import tempfile

import sentencepiece

out = pathlib.Path(__file__).parents[2] / "test/golden/sentencepiece/trained.json"
text = pathlib.Path(sys.argv[1]).read_text()
result = {"bytes": len(text.encode())}
for kind in ("unigram", "bpe"):
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            input=sys.argv[1], model_prefix=f"{folder}/m", model_type=kind, vocab_size=600, byte_fallback=True,
            normalization_rule_name="identity", character_coverage=0.9995, num_threads=1, minloglevel=2,
            split_by_unicode_script=False, split_by_number=False, remove_extra_whitespaces=False, max_sentence_length=1000000)
        model = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/m.model")
        pieces = [model.id_to_piece(i) for i in range(model.vocab_size()) if not (model.is_byte(i) or model.is_control(i) or model.is_unknown(i))]
        ids = [i for line in text.split("\n") for i in model.encode(line)]
        result[kind] = {"tokens": len(ids), "pieces": pieces}
        if kind == "unigram":
            result[kind]["logLikelihood"] = sum(model.get_score(i) for i in ids)
out.write_text(json.dumps(result, ensure_ascii=True, indent=0) + "\n")
