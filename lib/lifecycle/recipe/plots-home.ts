/**
 * Plots, first half. A plot is a list of steps. Each step is a list of variants, of which one is chosen. A step must follow from the steps
 * before it, whichever variants were chosen: cause first, then effect.
 *
 * A scene fills in {hero}, {friend} and their pronouns, which are {he} {him} {his} and {fhe} {fhim} {fhis}. {h} is the hero's name or pronoun.
 * A placeholder with a capital begins a sentence. {thing} is chosen once for the whole story ("ball"), and {thingKind} is its adjective ("red").
 */
export const homePlots = {
  lostThing: [
    [
      "{hero} had a {thingKind} {thing}. {He} [loved it very much|played with it every day|took it everywhere|kept it next to {his} bed].",
      "{His} {adult} had given {him} a {thingKind} {thing}. It was {his} favourite thing in the whole world.",
    ],
    [
      "{time}, {hero} could not find it. {He} looked {indoors} and {outdoors}, but it was not there.",
      "{time}, the {thing} was gone. {hero} looked [everywhere|in every room|high and low], but {he} could not find it.",
      "{time}, {hero} went to play {outdoors}. When {he} came home, the {thing} was missing.",
    ],
    [
      '{H} was {sad}. "[Where is my {thing}|Where can it be|Who took my {thing}]?" {he} said.',
      '{hero} began to cry. "I lost my {thing}," {he} told {his} {adult}.',
      "{H} sat down and felt {sad}.",
    ],
    [
      '{friend} saw {him} and asked, "[What is wrong|Why are you sad|What happened]?" {hero} told {fhim} about the {thing}.',
      'Then {friend} came by. "Do not cry," {fhe} said. "[I will help you look for it|We will find it together|Two can look better than one]."',
    ],
    [
      "They looked {outdoors} and {indoors}. They asked the {worker}, but [he had not seen it|the {worker} had not seen it either].",
      '"Where did you have it last?" asked {friend}. {hero} thought about it. "I had it {outdoors}," {he} said. So they [went|walked|ran] there.',
      "Together they [walked back along the path|searched the whole house|looked behind every bush].",
    ],
    [
      "At last {friend} saw something {colour} {outdoors}. It was the {thing}!",
      '"Look!" cried {friend}. The {thing} was {indoors}. It had been there all the time.',
      "A bird was sitting {outdoors}, and next to it lay the {thing}.",
      "Then {hero} saw {sights}, and right beside it was the {thing}.",
    ],
    [
      '{hero} was {happy}. "Thank you, {friend}," {he} said. "You are a good friend."',
      '{H} hugged {friend} and said, "Thank you for helping me!"',
      "{H} was so {happy} that {he} danced. Then {he} let {friend} play with the {thing} too.",
    ],
  ],
  brokenThing: [
    [
      "{time}, {hero} was playing {indoors}. {He} threw a ball, and it hit a {thingKind} {fragile}.",
      '{time}, {hero} ran through the house. {His} {adult} had said, "Please do not run inside," but {he} did not listen.',
      "{hero} wanted to see the {thingKind} {fragile} on the high shelf. {He} climbed on a chair and reached for it.",
    ],
    [
      "Crash! The {fragile} fell down and broke.",
      "The {fragile} fell to the floor. Now it was in {number} pieces.",
      "There was a loud noise. The {fragile} was broken.",
    ],
    [
      "{hero} was {afraid}. {He} hid the pieces {indoors} and said nothing.",
      'At first {he} wanted to hide. "Nobody saw me," {he} thought. But {he} felt bad inside.',
      '{H} did not know what to do, so {he} asked {friend}. "You should tell the truth," said {friend}.',
    ],
    [
      "That evening {he} could not eat {his} dinner. [{His} stomach hurt|{He} kept thinking about the {fragile}].",
      "When {his} {adult} came home, {hero} looked at the floor.",
      "All day {hero} thought about it, and the longer {he} waited, the worse {he} felt.",
    ],
    [
      '"I broke your {fragile}," {he} said at last. "I am sorry."',
      'Then {he} took a deep breath and told {his} {adult} everything. "It was my fault," {he} said.',
    ],
    [
      '{His} {adult} was [quiet for a moment|sad about the {fragile}] but not angry. "Thank you for telling me the truth," said {his} {adult}.',
      '"A {fragile} can be mended," said {his} {adult}. "[The truth is more important|I am glad that you told me]."',
    ],
    [
      "Together they found some glue and put the pieces back. {hero} felt {happy} again.",
      "The next day they mended it together. It did not look new, but {hero} liked it even more.",
      "{H} was {happy} that {he} had told the truth, and from then on {he} was more careful.",
    ],
  ],
  cooking: [
    [
      "{time}, {hero} wanted to make {dish} for {friend}.",
      '{time}, {hero} was hungry. "Can we make {dish}?" {he} asked {his} {adult}.',
      "It was the birthday of {his} {adult}, so {hero} and {friend} wanted to make {dish}.",
    ],
    [
      "First {he} washed {his} hands. Then {he} got [a big bowl and a wooden spoon|everything out of the cupboard|a pot and a spoon].",
      "They needed {fruits}, [flour and milk|sugar and butter|water and a little salt]. {hero} went to the market and bought them from the {worker}.",
      "{friend} read the recipe, and {hero} put things into the bowl.",
    ],
    [
      "But {hero} made a mistake. {He} used salt instead of sugar!",
      "{He} stirred too fast, and some of it landed on {his} nose. {friend} laughed.",
      'The first try was too [hot|sweet|salty|dry]. "Never mind," said {friend}. "We can try again."',
      "Then the bag fell over and there was flour on everything. Even the cat was white!",
    ],
    [
      "So they started again, and this time {he} was careful.",
      "They cleaned up and tried once more. [Soon the whole house smelled good|It took a long time, but they did not give up].",
    ],
    [
      "When it was ready, they put it on the table. It [smelled|looked|tasted] wonderful.",
      'After an hour it was done. "It smells so good!" said {friend}.',
    ],
    [
      "They ate it all together and were {happy}.",
      '{His} {adult} took a bite and smiled. "This is the best I have ever eaten," said {his} {adult}. {hero} was proud.',
      "{hero} gave the biggest piece to {friend}. Then everyone was full and {happy}.",
      "There was a little left, so they gave it to the {worker} next door.",
    ],
  ],
  fearOfNoise: [
    [
      "{time}, {hero} was lying in bed. It was dark, and the wind was blowing.",
      "One night {hero} could not sleep. The moon was [bright|hidden behind a cloud|round and white].",
      "It was late, and everyone was asleep except {hero}.",
    ],
    [
      "Suddenly {he} heard {noise}. It came from {indoor}.",
      "Then there was {noise}! {hero} sat up.",
      "{H} heard {noise} outside the window.",
    ],
    [
      "{H} was {afraid} and pulled the blanket over {his} head.",
      '"Who is there?" {he} whispered. Nobody answered. {hero} was {afraid}.',
      '{His} heart beat fast. "Maybe it is a monster," {he} thought.',
    ],
    [
      '{H} called {his} {adult}. "I heard something," {he} said. {His} {adult} took a lamp, and they went to look.',
      "But {hero} wanted to be brave. {He} took a lamp and walked {slowly} to the door.",
      '{friend} was staying for the night, and {fhe} woke up too. "Let us look together," {fhe} said. "Then we will not be so afraid."',
    ],
    [
      "There was no monster. It was only a [kitten|mouse|little owl|branch|hedgehog] that wanted [some milk|to come in|a warm place].",
      "They opened the door {slowly} and saw [a wet puppy|a small grey cat|a squirrel with a nut]. It was more afraid than {hero}!",
      "It was only the [wind|rain|old clock|window]. {hero} laughed.",
    ],
    [
      "{hero} was not {afraid} any more. {He} went back to bed and slept well.",
      '"It was nothing bad at all," said {hero}, and soon {he} was fast asleep.',
      "After that night, {he} was never {afraid} of the dark again.",
    ],
  ],
  sickFriend: [
    [
      "{time}, {friend} did not come out to play. {hero} waited {outdoors} for a long time.",
      "{time}, {hero} went to the house of {friend} and knocked on the door. Nobody answered at first.",
    ],
    [
      "{friend} was ill and had to stay in bed. {Fhe} [had a cold|had a sore throat|had a fever|felt weak and tired].",
      '"{friend} is sick today," said {fhis} {adult}. "{Fhe} must rest."',
    ],
    [
      '{hero} was {sad} for {fhim}. "What can I do to help?" {he} thought.',
      '"Poor {friend}!" said {hero}. {He} wanted to do something nice.',
    ],
    [
      "{He} [made some hot soup|picked some flowers|drew a funny picture|found a good book] and brought it to {friend}.",
      "{He} filled a basket with {fruits} and [a warm scarf|a jar of honey|a book of stories] and carried it to {friend}.",
    ],
    [
      '"This is for you," {he} said. {friend} smiled for the first time that day.',
      "{He} sat by the bed and told {fhim} a story about {creatures2}. {friend} laughed so much that {fhe} forgot to be sick.",
    ],
    [
      "A few days later {friend} was well again, and they played {game} {outdoors}.",
      'Soon {friend} felt better. "You are the best friend in the world," {fhe} said.',
      "The next week {hero} got a cold too. Then {friend} came with soup, and they both laughed.",
    ],
  ],
  birthday: [
    [
      "Tomorrow was the birthday of {friend}. {hero} wanted to give {fhim} something special.",
      "{time}, it was the birthday of {hero}. {He} was {number} years old.",
      "{hero} was going to a birthday party. {friend} was turning {number}.",
    ],
    [
      "But {hero} had no money. {He} thought and thought.",
      "{hero} looked in all the shops, but everything cost too much.",
      '"What does {friend} like best?" {hero} asked {himself}.',
    ],
    [
      "Then {he} had an idea. {He} took some wood and paint and made a {thingKind} {thing}.",
      "So {he} took {his} own {thing}, cleaned it and put it in a box with a {colour} ribbon.",
      "{His} {adult} showed {him} how to make a {thing}. It took all day.",
    ],
    [
      "At the party there was cake, and everyone played {game}.",
      "The house was full of {colour} balloons, and all the friends sang a song.",
      "{friend} opened the presents one after another.",
    ],
    [
      'When {friend} saw the {thing}, {fhis} eyes grew big. "Did you make this for me?" {fhe} asked.',
      '"A {thing}!" cried {friend}. "It is just what I wanted."',
    ],
    [
      "{hero} was {happy}. The best gift is one that comes from the heart.",
      "{friend} said it was the best birthday ever, and {hero} felt {happy} too.",
      "They played with it until it was dark.",
    ],
  ],
  argument: [
    [
      "{hero} and {friend} were playing with a {thingKind} {thing}. Both wanted to have it.",
      '{time}, {hero} and {friend} found a {thingKind} {thing} {outdoors}. "It is mine," said {hero}. "No, I saw it first," said {friend}.',
      '{hero} had a new {thing}, and {friend} wanted to play with it. "No!" said {hero}. "It is mine."',
    ],
    [
      "They pulled and pulled until they were both angry.",
      "They shouted at each other, and {friend} went home.",
      "{friend} was {sad} and walked away without a word.",
    ],
    [
      "{hero} now had the {thing}, but playing alone was no fun.",
      "{hero} sat alone {outdoors}. The {thing} was not so nice any more.",
      '{His} {adult} saw it and said, "A {thing} is nice, but a friend is better."',
    ],
    [
      "{H} thought about it for a while. Then {he} ran to {friend}.",
      "So {hero} went to the house of {friend} and knocked [softly|three times].",
      "After lunch {he} looked for {friend} and found {fhim} {outdoors}.",
    ],
    [
      '"I am sorry," said {hero}. "We can share it."',
      '"I was not kind to you," {he} said. "Do you want to play with it first?"',
    ],
    [
      '{friend} smiled. "I am sorry too," {fhe} said. They played together all day.',
      "{friend} gave {him} a hug, and they were friends again.",
      '"Let us take turns," said {friend}, and that is what they did.',
    ],
  ],
  bedtime: [
    [
      "It was time for bed, but {hero} was not tired. {He} wanted to [play|read|see the stars|hear a story].",
      'The sun went down, and the sky turned [red and purple|dark blue]. {His} {adult} said, "It is time to sleep."',
    ],
    [
      '"Please, one more story," said {hero}. So {his} {adult} told {him} about {creature2} who lived {home}.',
      "{hero} looked out of the window. {He} saw the moon and {many} stars.",
      '"Why does the moon follow us?" asked {hero}.',
    ],
    [
      '"The moon watches over everyone," said {his} {adult}. "It shines on the sea and on the mountains, on you and on me."',
      '"How many stars are there?" asked {hero}. "More than you can count," said {his} {adult}. "But you may try."',
      "In the story {creature2} looked for {sights} and found a friend.",
    ],
    [
      '{hero} began to count. "One, two, three, four, five," {he} said. {His} voice became softer and softer.',
      "{H} listened, and {his} eyes became small.",
      "{H} held {his} {thing} tight and closed {his} eyes.",
    ],
    [
      'Soon {he} was asleep. "Good night, {hero}," said {his} {adult}.',
      "That night {he} dreamed of {sights}.",
      "Before the story was over, {hero} was asleep and dreaming.",
    ],
  ],
};
