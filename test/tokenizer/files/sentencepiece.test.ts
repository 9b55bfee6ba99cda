// Models of SentencePiece beside its own library, if it is installed: the same ids for any text.
import { describeSentencePiece } from "./sentencepiece-library.ts";

describeSentencePiece(8000);
