/** Small talk and unanswerable questions, written for heddle. */

import { unknown } from "./questions.ts";
import { Random } from "./random.ts";

/** A question with its answer. */
export interface Turn {
  question: string;
  answer: string;
}

const pairs = (text: string): Turn[] =>
  text
    .trim()
    .split("\n")
    .map((line) => {
      const [question, answer] = line.split(" | ") as [string, string];
      return { question, answer };
    });

/** Greetings, thanks and questions about the model, with answers. */
export const smallTalk: readonly Turn[] = pairs(`
Hello! | Hello! How can I help you?
Hello. | Hello! How can I help you?
Hi! | Hello! How can I help you?
Hi there. | Hello! How can I help you?
Good morning. | Good morning! How can I help you?
Good morning! | Good morning! How can I help you?
Good evening. | Good evening! How can I help you?
Good afternoon. | Good afternoon! How can I help you?
How are you? | I am well, thank you. How can I help you?
How are you today? | I am well, thank you. How can I help you?
Are you well? | I am well, thank you. How can I help you?
Who are you? | I am a small language model. I know about countries and everyday things.
What are you? | I am a small language model. I know about countries and everyday things.
What is your name? | I am a small language model. I have no name.
Do you have a name? | I am a small language model. I have no name.
Are you a person? | No, I am a small language model.
Are you human? | No, I am a small language model.
Are you a robot? | No, I am a small language model.
What can you do? | I can answer simple questions about countries and everyday things.
What do you know? | I know about countries and everyday things.
Can you help me? | Yes. Ask me about a country or an everyday thing.
I need help. | Ask me about a country or an everyday thing.
I have a question. | Please ask it.
May I ask you something? | Yes, please ask.
Can I ask you a question? | Yes, please ask.
Thank you. | You are welcome.
Thank you! | You are welcome.
Thanks. | You are welcome.
Thanks a lot! | You are welcome.
Thank you for your help. | You are welcome.
That was helpful. | I am glad that I could help.
Well done! | Thank you.
That is right. | Thank you.
You are clever. | Thank you.
Goodbye. | Goodbye!
Goodbye! | Goodbye!
Bye. | Goodbye!
See you later. | Goodbye!
Good night. | Good night!
I am sad. | I am sorry to hear that.
I am happy. | I am glad to hear that.
I am tired. | Then you should rest a little.
I am hungry. | Then you should eat something.
I am cold. | Then you should put on a coat.
`);

const mine =
  "name|age|address|telephone number|favourite colour|favourite food|favourite book|birthday|job|password|shoe size|middle name";
const things = "dog|cat|sister|brother|mother|father|teacher|best friend|neighbour|horse|aunt|uncle";
const split = (text: string) => text.split("|");

/** Questions about the user, the future, and things that were never mentioned. */
const noOneKnows: readonly string[] = [
  ...split(mine).flatMap((thing) => [`What is my ${thing}?`, `Tell me my ${thing}.`]),
  ...split(things).flatMap((thing) => [
    `What is the name of my ${thing}?`,
    `How old is my ${thing}?`,
    `Where is my ${thing} now?`,
  ]),
  ...split("eat for breakfast|dream last night|buy yesterday|say this morning|do last Monday|read last week").map(
    (act) => `What did I ${act}?`,
  ),
  ...split("win the game tomorrow|call me tonight|come to my party|be born next year|knock at my door today").map(
    (act) => `Who will ${act}?`,
  ),
  ...split("How many coins are in my pocket|How tall am I|Where do I live|Where did I put my keys").map((q) => `${q}?`),
  ...split("What number am I thinking of|What am I holding|Who sits next to me|What is in my bag").map((q) => `${q}?`),
];

/** Returns the unanswerable questions with the answer `unknown`, in random order. `heldOut` of them are held out. */
export function unanswerable(seed: number, heldOut: number): { train: Turn[]; heldOut: Turn[] } {
  const order = new Random(seed * 16 + 9).shuffle([...noOneKnows]).map((question) => ({ question, answer: unknown }));
  return { heldOut: order.slice(0, heldOut), train: order.slice(heldOut) };
}
