// sentencepiece.test.ts with more texts.
import { describeSentencePiece } from "./sentencepiece-library.ts";

describeSentencePiece(200_000);
