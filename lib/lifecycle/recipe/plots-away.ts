/** Plots, second half: outdoors, journeys, and fables. See plots-home.ts for how a plot is written. */
export const awayPlots = {
  newFriend: [
    [
      "{time}, {hero} went to play {outdoors}. {He} saw {someone} who was sitting alone.",
      "A new family came to live next door. {time}, {hero} saw {someone} {outdoors}.",
      "{time}, {hero} met {someone} {outdoors}.",
    ],
    [
      '"Hello," said {hero}. "What is your name?" "My name is {friend}," said the other {softly}.',
      '"My name is {hero}," {he} said. "Who are you?" "I am {friend}," came the answer.',
      "{hero} wanted to say hello, but {he} was shy. Then {friend} smiled at {him}.",
    ],
    [
      '"Do you want to play {game}?" asked {hero}. {friend} nodded.',
      '{hero} had {food} and gave half of it to {friend}. "Thank you," said {friend}. "I was so hungry."',
      '"I do not know anyone here," said {friend}. "Now you know me," said {hero}.',
    ],
    [
      "They played {game} until the sun went down.",
      "They ran {outdoors} and looked at {sights}.",
      "{friend} showed {him} a secret place {outdoors}, where they saw {sights}.",
    ],
    [
      '"I must go home now," said {friend}. "Will you come again tomorrow?" "Yes, I will," said {hero}.',
      'When it was time to go, {friend} said, "I am glad that I met you."',
    ],
    [
      "From that day on they were the best of friends.",
      "{hero} went home and told {his} {adult} about {his} new friend. {He} was {happy}.",
      "After that they met every day, and nobody was lonely any more.",
    ],
  ],
  rescue: [
    [
      "{time}, {hero} was walking {outdoors}. Suddenly {he} heard {noise}.",
      '{time}, {hero} and {friend} went for a walk. They heard someone cry, "Help! Help!"',
    ],
    [
      "A [small bird|baby duck|young squirrel|tiny mouse] had fallen into a hole and could not get out.",
      "A little [cat|dog|lamb] was stuck between two rocks.",
      "A [bird|butterfly|young rabbit] was caught in a net and could not move.",
      "A [kitten|puppy] sat on a stone in the middle of the stream. The water was deep and cold.",
    ],
    [
      '"Do not be afraid," said {hero}. "I will help you." {He} pulled, but {he} was not strong enough.',
      "{hero} wanted to help, but {his} arms were too short.",
      '"We must do something," said {hero}. {He} looked around for a [stick|rope|long branch].',
    ],
    [
      "So {he} called {friend}. Together they pulled as hard as they could.",
      "{hero} ran to fetch the {worker}, who brought a rope.",
      "{friend} held {him} by the hand, and {hero} reached out {slowly}.",
      "They laid a long branch across, and {hero} spoke {softly} until the little one dared to climb.",
    ],
    [
      "At last the little animal was free! It shook itself and looked at them with bright eyes.",
      "It worked! The poor thing was wet and tired, but safe.",
    ],
    [
      "They took it home, gave it [something to eat|warm milk] and made a soft bed for it.",
      '"Thank you," it seemed to say. Then it ran back to its mother.',
      "{hero} gave it some water and stroked it {softly}.",
    ],
    [
      "{hero} was {happy} all day. {He} had learned that {lesson}.",
      "Every morning after that, it came to the window and sang.",
      '"You were very brave," said {friend}. {hero} felt proud.',
    ],
  ],
  garden: [
    [
      "{time}, {hero} found a small brown seed {outdoors}.",
      "{His} {adult} gave {hero} a handful of seeds in the spring.",
      "{hero} wanted to grow {fruits} of {his} own.",
    ],
    [
      "{H} made a hole in the ground, put the seed in and covered it with earth.",
      '"Seeds need water and sun," said {his} {adult}. So {hero} put them in a warm place and gave them water.',
      "{He} dug the ground with a spade, and {friend} put the seeds in.",
    ],
    [
      "{H} watered it every day and waited. Nothing happened.",
      'The next morning {he} ran out to look, but there was only earth. "Why does it not grow?" {he} asked.',
      "Days went by. {hero} wanted to dig up the seed to see it.",
    ],
    [
      '"Be patient," said {friend}. "Good things take time."',
      '"It is sleeping," said {his} {adult}. "It will wake up when it is ready."',
    ],
    [
      "Then it rained for {number} days, and after the rain the sun came out.",
      "One morning there was a tiny green leaf!",
      "{hero} kept on watering, and at last something green came out of the ground.",
    ],
    [
      "It grew and grew until it was taller than {hero}.",
      "In the summer there was a big {colour} flower, and the bees came to visit it.",
      "Soon there were {fruits} for everyone.",
    ],
    [
      "{hero} shared them with {friend} and the {worker}. They had never tasted anything so good.",
      "{H} was {happy} and saved some of the seeds for the next year.",
      '"I grew this," said {hero}, and {he} was very proud.',
    ],
  ],
  building: [
    [
      "{time}, {hero} and {friend} wanted to build [a tree house|a small boat|a bridge over the stream|a castle of sand|a snowman|a house for the birds].",
      "{hero} wanted to make a kite that could fly higher than the trees.",
      '{hero} had an idea. "Let us build a [raft|tower|little house]," {he} said to {friend}.',
    ],
    [
      "They [looked for|collected|carried] wood, [rope and nails|stones and sticks|string and paper].",
      "{friend} made a plan, and {hero} brought everything they needed.",
      "They worked all morning, and it was hard work.",
    ],
    [
      "But when it was almost done, the wind blew and it fell apart.",
      "Suddenly there was {noise}, and everything fell down.",
      "When they tried it, it did not work at all.",
      "It [was too heavy|was too weak|leaned to one side], and in the end it broke.",
    ],
    [
      '"I give up," said {hero}. "We will never do it."',
      "{hero} was {sad}. All their work was for nothing.",
      "{hero} kicked a stone and sat down.",
    ],
    [
      '"Let us find out what went wrong," said {friend}. "Then we can do it better."',
      '"We can try again," said {friend}. "Now we know what not to do."',
      "The {worker} saw them and showed them how to tie a strong knot.",
    ],
    [
      "So they began again. This time they used [thicker wood|bigger stones|more rope], and {hero} tested every part.",
      "They worked {slowly} and helped each other.",
    ],
    [
      "In the evening it was finished, and it was even better than before.",
      "This time it worked! They cheered and jumped up and down.",
    ],
    [
      '"We did it!" cried {hero}. They were tired and {happy}.',
      "{hero} learned that {lesson}.",
      "Everyone came to see it, even the {worker}.",
    ],
  ],
  trip: [
    [
      "{time}, {hero} went to {destination} with {his} {adult}. It was a {weather} day.",
      "{hero} and {friend} wanted to see {destination}. They packed {food} and a map and set off.",
      '{time}, {his} {adult} said, "Today we are going to {destination}!" {hero} was so excited that {he} forgot {his} shoes.',
    ],
    [
      "They went by [bus|train|bike|boat|car]. On the way they saw {sights} and {sights}.",
      "The road was long, but they sang songs and counted [cows|trees|red cars|bridges].",
    ],
    [
      'When they got there, {hero} saw {sights}. "Look at that!" {he} cried.',
      "There was so much to see. {hero} liked {sights} best of all.",
      "{H} had never seen so many people. {He} held the hand of {his} {adult} tight.",
    ],
    [
      "Then it began to rain, so they sat under a roof and ate.",
      "At noon they ate {food} and {food}.",
      "{hero} bought a {thingKind} {thing} for {friend}.",
      "Then {hero} turned around and saw nobody {he} knew. {He} was lost! A kind {worker} helped {him} find the way back.",
    ],
    [
      '"Can we stay a little longer?" asked {hero}. So they stayed until the sun went down.',
      "In the afternoon they [swam|rested in the grass|fed the ducks|listened to music|climbed up high and looked far over the land].",
    ],
    [
      "On the way home {hero} fell asleep. It had been a wonderful day.",
      "At home {he} drew a picture of everything {he} had seen.",
      '"That was the best day of my life," said {hero}. "When can we go again?"',
    ],
  ],
  race: [
    [
      '{time}, the animals had a race. The {fast} was sure to win. "Nobody is faster than me," said the {fast}.',
      'The {fast} laughed at the {slow}. "You are so slow!" said the {fast}. "Let us have a race," answered the {slow}.',
    ],
    [
      "They started {outdoors}. The {fast} ran ahead and was soon far away.",
      'All the animals came to watch. "Ready, steady, go!" called the owl, and off they went.',
    ],
    [
      '"I have plenty of time," thought the {fast}, and lay down {outdoors} to sleep.',
      "On the way the {fast} saw {sights} and stopped to look. After that the {fast} ate some {fruits} and fell asleep.",
    ],
    [
      "The {slow} did not stop. Step by step, the {slow} went on and on.",
      "But the {slow} kept walking, {slowly}, without a rest.",
    ],
    [
      "When the {fast} woke up, the sun was low. The {fast} ran and ran, but it was too late.",
      "The {fast} opened one eye and saw the {slow} near the end. How the {fast} ran then!",
    ],
    ["The {slow} had won! Everyone cheered.", "The {slow} reached the end first, and the {fast} was very surprised."],
    ['"I will never laugh at you again," said the {fast}. The {slow} smiled.', "Slow and steady wins the race."],
  ],
  learning: [
    [
      "{hero} wanted to learn to [swim|ride a bike|read|whistle|skate|play the flute|tie {his} shoes]. All {his} friends could do it already.",
      '"I cannot do it," said {hero}. {He} had tried to [ride a bike|swim|climb the tree|catch a ball|draw a horse] {number} times.',
    ],
    [
      "{He} tried and fell down. {He} tried again and fell down again.",
      "The first time it went wrong, and the others laughed. {hero} was {sad}.",
      "It was much harder than it looked.",
    ],
    [
      '"I was bad at it too when I was small," said {friend}. "I will show you."',
      '{His} {adult} said, "Nobody can do everything on the first day. Try a little every day."',
      "{friend} stayed with {him} and held {his} hand.",
    ],
    [
      "So {hero} practised every day after [school|breakfast|lunch].",
      "Every morning {he} went out and tried again, even when it was {weather}.",
    ],
    [
      "After a week {he} could do it a little, and after a month {he} could do it well.",
      "One day {friend} let go, and {hero} did it all alone.",
      "Then, all at once, it worked!",
    ],
    [
      '"Look at me!" {he} shouted. {friend} clapped {fhis} hands.',
      "{hero} was proud and {happy}. {He} knew now that {lesson}.",
    ],
  ],
  storm: [
    [
      "{time}, dark clouds came over the hill. The wind grew stronger and stronger.",
      "It had rained for {number} days, and the river was high.",
      "{time}, it snowed so much that nobody could see the road.",
    ],
    [
      "{hero} was {outdoors} and wanted to get home before the storm.",
      "{hero} looked out of the window and saw {friend} outside in the [rain|wind|cold].",
      "{hero} heard a knock. At the door stood {someone}, wet and cold.",
    ],
    [
      '"Come in {quickly}," said {hero}. "You can get warm by the fire."',
      '"Quick, under this tree!" called {friend}. But {hero} knew that a tree is not safe in a storm, so they ran to the barn.',
      "The path was gone. {hero} was {afraid}, but {he} took {friend} by the hand and walked on.",
    ],
    [
      "Inside it was warm and dry. They drank hot [tea|milk|chocolate] and listened to the [wind|rain|thunder].",
      "They shared {food} and told each other stories until the storm was over.",
      'Lightning flashed, and thunder rolled. "Count the seconds," said {friend}. "Then you know how far away it is."',
    ],
    [
      "In the morning the sky was blue again, and the sun shone on {sights}.",
      "When the storm was over, there was a rainbow over the hill.",
    ],
    [
      "They went out and helped the {worker} to [mend the roof|clear the road|pick up the branches].",
      '"It was good that we were together," said {hero}.',
      "{hero} was {happy} that everyone was safe.",
    ],
  ],
  treasure: [
    [
      "{time}, {hero} found an old map {indoors}. There was a {colour} cross on it.",
      "{friend} had found a bottle {outdoors}. Inside was a map.",
    ],
    [
      '"It must be a treasure," said {hero}. "Let us look for it!" They took a lamp and a spade and went off.',
      '"Where does it lead?" asked {friend}. They turned the map around and around.',
    ],
    [
      "The map led them past {sights} and over a bridge.",
      "They walked {number} steps to the left and {number} steps to the right, just as the map said.",
      "They came to a dark cave. {hero} was {afraid}, but {friend} went first.",
    ],
    [
      "Under a flat stone {outdoors} they found a box. It was locked.",
      "They dug and dug. Then the spade hit something hard. It was a box!",
    ],
    [
      "The key was [under the stone|on the back of the map|in a hole in the tree], and the box opened {slowly}.",
      "{hero} pulled, {friend} pushed, and at last the box came open.",
    ],
    [
      'Inside there was no gold. There was a {thingKind} {thing} and a letter. It said, "The real treasure is the friend who came with you."',
      "It was full of old [coins|shells|pictures|toys]. They belonged to the {worker}, who had lost them long ago and was {happy} to have them back.",
      'There was a {thingKind} {thing} in it. "We will share it," said {hero}.',
    ],
  ],
  kindness: [
    [
      "{time}, {hero} had {food} for lunch. On the way {he} met an old {worker} who had nothing to eat.",
      "{hero} was on the way to the market. {He} saw {someone} who was hungry and cold.",
    ],
    [
      '"Take this," said {hero}, and gave away half of it.',
      '{H} wanted to walk on, but then {he} turned around. "You can have mine," {he} said.',
    ],
    [
      '"You are kind," said the other. "I will not forget it."',
      'The other ate it all and smiled. "One day I will help you too."',
    ],
    [
      "Later that day {hero} [lost {his} way in the forest|fell into the river|could not carry {his} heavy bag|lost {his} key]. {He} called for help.",
      "Many days went by. Then {hero} was in trouble, for {his} [boat had a hole|roof was broken|little garden had no water].",
    ],
    [
      "And who came along? It was the one {he} had helped!",
      '"Now it is my turn," said a voice. It was the one who had eaten {his} food.',
    ],
    [
      "Together it was easy, and soon everything was well.",
      '{hero} was {happy}. "Thank you," {he} said. "You helped me first," said the other.',
    ],
    ["That is how {hero} learned that {lesson}.", "Kindness comes back to those who give it."],
  ],
};
