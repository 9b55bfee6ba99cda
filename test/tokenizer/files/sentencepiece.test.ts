// SentencePiece models give the ids of the SentencePiece library for any text, if the library is installed.
import { describeSentencePiece } from "./sentencepiece-library.ts";

describeSentencePiece(8000);
