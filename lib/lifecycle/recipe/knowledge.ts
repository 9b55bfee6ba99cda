import type { Random } from "./random.ts";
import { capitalized } from "./template.ts";
/** Plain facts about everyday things, written for this project: animals, opposites, numbers, the calendar, uses, work. */

/** name | sound | home | food | young */
export const animals = table<[string, string, string, string, string]>(`
dog | barks | a kennel | meat and bones | puppy
cat | says meow | a house | fish and mice | kitten
cow | says moo | a barn | grass | calf
horse | neighs | a stable | hay and grass | foal
sheep | says baa | a meadow | grass | lamb
pig | grunts | a sty | almost everything | piglet
hen | clucks | a coop | grain | chick
duck | quacks | a pond | water plants | duckling
lion | roars | the grassland | meat | cub
bear | growls | a den | berries, fish and honey | cub
frog | croaks | a pond | flies | tadpole
bee | buzzes | a hive | the nectar of flowers | larva
owl | hoots | a hollow tree | mice | owlet
goat | bleats | a stable | grass and leaves | kid
mouse | squeaks | a hole | grain and cheese | pup
snake | hisses | the grass | mice and eggs | hatchling
wolf | howls | the forest | meat | pup
elephant | trumpets | the grassland | leaves and fruit | calf
monkey | chatters | the trees of the jungle | fruit and nuts | infant
fox | barks | a den | mice and berries | cub
`);

/** Pairs of opposite words. */
export const opposites =
  "hot cold|big small|long short|old young|fast slow|high low|happy sad|day night|black white|open closed|full empty|light dark|wet dry|hard soft|clean dirty|early late|near far|rich poor|strong weak|loud quiet|up down|left right|good bad|thick thin|heavy light|sweet sour|first last|always never|begin end|push pull|buy sell|ask answer|win lose|deep shallow|wide narrow|new old|true false|brave afraid|easy difficult|inside outside|above below|before after|love hate|remember forget|laugh cry|come go|give take"
    .split("|")
    .map((pair) => pair.split(" ") as [string, string]);

/** thing | purpose of the thing, as a verb phrase */
export const uses = table<[string, string]>(
  `
a knife | cut bread | a spoon | eat soup | a key | open a door | a pen | write a letter | a broom | sweep the floor | a bed | sleep | an umbrella | stay dry in the rain
a lamp | see in the dark | a clock | tell the time | a bridge | cross a river | a boat | travel on water | a ladder | climb up high | a hammer | drive in a nail | a needle | sew clothes
soap | wash our hands | a map | find the way | a kettle | boil water | an oven | bake bread | a towel | dry ourselves | a bag | carry things | a telephone | talk to people far away | a brush | paint a wall
scissors | cut paper | a book | read stories | glasses | see better | a bell | call people | a saw | cut wood | a cup | drink tea | a bucket | carry water | a fridge | keep food cold
`
    .trim()
    .replaceAll("\n", " | "),
  2,
);

/** worker | what the worker does */
export const work = table<[string, string]>(
  `
a baker | bakes bread and cakes | a farmer | grows food and keeps animals | a doctor | helps people who are ill | a teacher | teaches children | a fisherman | catches fish | a pilot | flies a plane
a tailor | makes clothes | a carpenter | makes things of wood | a cook | prepares meals | a gardener | looks after plants | a writer | writes books | a painter | paints pictures | a driver | drives a bus or a car
a nurse | takes care of the sick | a builder | builds houses | a singer | sings songs | a firefighter | puts out fires | a librarian | looks after books | a judge | decides what is fair | a miner | digs in the earth
`
    .trim()
    .replaceAll("\n", " | "),
  2,
);

/** Pairs of a thing and its color. */
export const colors =
  "grass green|the sky blue|snow white|coal black|a banana yellow|a ripe tomato red|an orange orange|blood red|milk white|a lemon yellow|a leaf green|the sea blue|chocolate brown|a strawberry red|a carrot orange|ash grey|a frog green|a polar bear white|a raven black|the sun yellow"
    .split("|")
    .map((pair) => pair.split(/ (?=\S+$)/) as [string, string]);
/** The days of the week, from Monday. */
export const days = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(" ");
/** The months of the year. */
export const months = "January February March April May June July August September October November December".split(
  " ",
);
/** The words for the numbers from 0 to 20. */
export const numbers =
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split(
    " ",
  );
const plain = `
The sun rises in the east and sets in the west.|A year has twelve months.|A week has seven days.|A day has twenty-four hours.|An hour has sixty minutes.|A minute has sixty seconds.|Water freezes when it is very cold.|Ice melts when it gets warm.|Water boils when it is very hot.
Plants need water, air and light.|Fish breathe in water.|Birds have wings and feathers.|A spider has eight legs.|An insect has six legs.|The moon goes around the earth.|The earth goes around the sun.|We see with our eyes and hear with our ears.|We smell with the nose and taste with the tongue.|The heart pumps blood through the body.
Wool comes from sheep.|Milk comes from cows.|Honey is made by bees.|Bread is made of flour.|Paper is made of wood.|Glass is made of sand.|Cheese is made of milk.|Rain falls from clouds.|A rainbow has many colours.|After the night comes the day.|After winter comes spring.|After spring comes summer.|After summer comes autumn.|After autumn comes winter.
In winter it is cold, and in summer it is warm.|Leaves fall from the trees in autumn.|Flowers bloom in spring.|A triangle has three sides.|A square has four equal sides.|A circle is round.|Iron is heavy, and a feather is light.|Stones sink in water, and wood floats.|Red and yellow make orange.|Blue and yellow make green.|Red and blue make purple.
The earth is round.|The largest animal is the blue whale.|The elephant is the largest animal on land.|The giraffe has a long neck.|Penguins cannot fly, but they swim well.|Bats fly at night.|Frogs begin their life in water.|A caterpillar turns into a butterfly.|Bears sleep through the winter.|Many birds fly south in autumn.|There are seven continents on the earth.|The largest ocean is the Pacific Ocean.
`
  .trim()
  .split(/[|\n]/);

/** Returns a short document of up to seven facts, which are mixed or of one kind. */
export function knowledge(random: Random): string {
  const kinds = [
    animal,
    animal,
    opposite,
    use,
    job,
    color,
    calendar,
    sum,
    sum,
    () => random.pick(plain),
    () => random.pick(plain),
  ];
  const one = random.chance(0.5) ? random.pick(kinds) : undefined;
  const sentences = new Set(Array.from({ length: 3 + random.below(5) }, () => (one ?? random.pick(kinds))(random)));
  const lines = [...sentences];
  return lines.join(lines.some((line) => line.includes("\n")) || random.chance(0.25) ? "\n" : " ");
}

function animal(random: Random) {
  const [name, sound, home, food, young] = random.pick(animals);
  const a = article(name);
  return random
    .pick([
      `${a} ${name} ${sound}.`,
      `${a} ${name} lives in ${home}.`,
      `${a} ${name} eats ${food}.`,
      `A young ${name} is called a ${young}.`,
      `What does a ${name} eat? It eats ${food}.`,
      `Where does a ${name} live? It lives in ${home}.`,
      `${a} ${name} lives in ${home} and eats ${food}.`,
      `${a} ${name} is an animal. It ${sound} and eats ${food}.`,
      `Q: What do we call a young ${name}?\nA: A ${young}.`,
    ])
    .replace(/\ba (?=[aeio])/g, "an ");
}

function opposite(random: Random) {
  const [first, second] = random.shuffle([...random.pick(opposites)]) as [string, string];
  return random.pick([
    `The opposite of ${first} is ${second}.`,
    `What is the opposite of ${first}? The opposite of ${first} is ${second}.`,
    `${first[0]!.toUpperCase()}${first.slice(1)} is the opposite of ${second}.`,
    `Q: What is the opposite of ${first}?\nA: ${second[0]!.toUpperCase()}${second.slice(1)}.`,
  ]);
}

function use(random: Random) {
  const [thing, purpose] = random.pick(uses);
  return random.pick(
    [
      `We use ${thing} to ${purpose}.`,
      `What do we need to ${purpose}? We need ${thing}.`,
      `With ${thing} we can ${purpose}.`,
      `What is ${thing} for? We use it to ${purpose}.`,
    ].filter((text) => !(/^(scissors|glasses)/.test(thing) && text.startsWith("What is"))),
  );
}

function job(random: Random) {
  const [worker, task] = random.pick(work);
  const start = capitalized(worker);
  return random.pick([
    `${start} ${task}.`,
    `What does ${worker} do? ${start} ${task}.`,
    `Who ${task}? ${start} does.`,
    `${start} is a person who ${task}.`,
  ]);
}

function color(random: Random) {
  const [thing, shade] = random.pick(colors);
  const start = capitalized(thing);
  return random.pick([
    `${start} is ${shade}.`,
    `What colour is ${thing}? It is ${shade}.`,
    `The colour of ${thing} is ${shade}.`,
    `Q: What colour is ${thing}?\nA: ${start} is ${shade}.`,
  ]);
}

function calendar(random: Random) {
  const [names, kind] = random.chance(0.5) ? [days, "day"] : [months, "month"];
  const at = random.below(names.length);
  const next = names[(at + 1) % names.length]!;
  return random.pick([
    `After ${names[at]} comes ${next}.`,
    `Which ${kind} comes after ${names[at]}? ${next} comes after ${names[at]}.`,
    `Before ${next} comes ${names[at]}.`,
    `The ${kind} after ${names[at]} is ${next}.`,
    `The ${kind}s of the ${kind === "day" ? "week" : "year"} are ${names.slice(0, -1).join(", ")} and ${names.at(-1)}.`,
  ]);
}

function sum(random: Random) {
  const a = random.below(11);
  const b = random.below(11);
  const [high, low] = a > b ? [a, b] : [b, a];
  return random.pick([
    `${capitalized(numbers[a]!)} plus ${numbers[b]} is ${numbers[a + b]}.`,
    `${a} + ${b} = ${a + b}`,
    `What is ${a} plus ${b}? It is ${a + b}.`,
    `${high} - ${low} = ${high - low}`,
    `${capitalized(numbers[high]!)} minus ${numbers[low]} is ${numbers[high - low]}.`,
    `After ${numbers[a]} comes ${numbers[a + 1]}.`,
    `Count from ${a} to ${a + 5}: ${[0, 1, 2, 3, 4, 5].map((i) => a + i).join(", ")}.`,
  ]);
}

function article(noun: string) {
  return /^[aeio]/.test(noun) ? "An" : "A";
}

/** Parses a table. @param columns number of columns. Default: each line is a row */
function table<Row extends string[]>(text: string, columns?: number): Row[] {
  if (!columns)
    return text
      .trim()
      .split("\n")
      .map((line) => line.split(" | ") as Row);
  const cells = text.split(" | ");
  return Array.from({ length: cells.length / columns }, (_, i) => cells.slice(i * columns, (i + 1) * columns) as Row);
}
