/** The vocabulary of the stories: everyday words, chosen and written for this project. */

export const girls =
  "Lily Anna Mia Emma Sara Rosa Ella Lucy Nina Zoe Clara Ruby Maya Ivy Amy Nora Leah Daisy Tina Alice Hana Kim Vera June Molly Lena Pia Eva Kate Fatima".split(
    " ",
  );
/** Names of boys who can be heroes. */
export const boys =
  "Tom Ben Max Sam Leo Jack Tim Noah Finn Oscar Adam Hugo Paul Omar Luke Peter Felix David Jonas Milo Eric Carl Henry Theo Ali Kofi Ravi Hans Joe Nick".split(
    " ",
  );

/** Animals that can be heroes. */
export const creatures = [
  "fox",
  "rabbit",
  "mouse",
  "bear",
  "squirrel",
  "hedgehog",
  "duck",
  "cat",
  "puppy",
  "frog",
  "owl",
  "turtle",
  "pig",
  "goat",
  "lamb",
  "beaver",
  "badger",
  "deer",
  "monkey",
  "penguin",
  "elephant",
  "kitten",
  "otter",
  "mole",
  "lion",
  "donkey",
  "pony",
  "goose",
  "raccoon",
  "parrot",
];
/** Adjectives for characters. */
export const traits = [
  "kind",
  "curious",
  "brave",
  "shy",
  "clever",
  "cheerful",
  "quiet",
  "careful",
  "gentle",
  "funny",
  "friendly",
  "lively",
  "patient",
  "helpful",
  "bold",
  "dreamy",
];
/** Adjectives for the size of characters. */
export const sizes = ["little", "small", "young", "tiny"];

/** Colors of things. */
export const colors = [
  "red",
  "blue",
  "green",
  "yellow",
  "white",
  "black",
  "brown",
  "orange",
  "purple",
  "pink",
  "golden",
  "silver",
  "grey",
];
/** Things a child may own, lose, find, share or give. */
export const toys = [
  "ball",
  "kite",
  "doll",
  "drum",
  "boat",
  "train",
  "bell",
  "scarf",
  "hat",
  "book",
  "basket",
  "lamp",
  "whistle",
  "puzzle",
  "blanket",
  "key",
  "ribbon",
  "umbrella",
  "teddy bear",
  "toy car",
  "flute",
  "box of crayons",
  "music box",
  "bucket",
  "wooden horse",
  "button",
  "shell",
  "coat",
  "spoon",
  "toy robot",
];
/** Adjectives for things. */
export const thingTraits = [
  "new",
  "old",
  "shiny",
  "soft",
  "big",
  "little",
  "pretty",
  "round",
  "wooden",
  "favourite",
  "bright",
  "lovely",
  "funny",
  "special",
];
/** Foods without their article, such as "apple". */
export const foods = [
  "apple",
  "pear",
  "cookie",
  "sandwich",
  "piece of cake",
  "banana",
  "carrot",
  "orange",
  "slice of bread",
  "bowl of soup",
  "pancake",
  "plum",
  "peach",
  "muffin",
  "bun",
  "piece of cheese",
  "cup of milk",
  "bowl of rice",
  "boiled egg",
  "slice of pie",
];
/** Dishes that characters make. */
export const dishes = [
  "a cake",
  "bread",
  "soup",
  "an apple pie",
  "pancakes",
  "cookies",
  "a salad",
  "jam",
  "pizza",
  "muffins",
  "a big pot of stew",
  "lemonade",
];
/** Plurals of fruits, nuts and mushrooms. */
export const fruits = [
  "apples",
  "pears",
  "berries",
  "cherries",
  "plums",
  "nuts",
  "mushrooms",
  "strawberries",
  "grapes",
  "lemons",
];

/** Places with their preposition, such as "in the park". */
export const outdoors = [
  "in the park",
  "at the beach",
  "in the garden",
  "in the forest",
  "by the river",
  "on the hill",
  "near the lake",
  "in the meadow",
  "behind the house",
  "on the farm",
  "in the yard",
  "at the playground",
  "under the big tree",
  "by the old bridge",
  "next to the pond",
  "in the field",
  "along the path",
  "in the village square",
];
/** Places in houses with their preposition, such as "in the attic". */
export const indoors = [
  "in the kitchen",
  "in the attic",
  "in the bedroom",
  "under the bed",
  "in the barn",
  "at school",
  "in the library",
  "behind the sofa",
  "in the basement",
  "in the shop",
  "under the table",
  "in the hall",
];
/** Destinations of trips. */
export const destinations = [
  "the beach",
  "the zoo",
  "the market",
  "the farm",
  "the museum",
  "the mountains",
  "the lake",
  "the big city",
  "the library",
  "the circus",
  "the harbour",
  "the castle on the hill",
  "the bakery",
  "the train station",
  "the swimming pool",
  "grandmother's house",
];
/** Homes of children with their preposition. */
export const homes = [
  "in a small house near the forest",
  "in a village by the sea",
  "in a yellow house at the end of the street",
  "in a big city",
  "on a farm",
  "on a quiet street",
  "in a cottage with a red roof",
  "near a wide river",
  "at the foot of a mountain",
  "in a flat above a bakery",
  "in a town with an old clock tower",
  "beside a blue lake",
];
/** Homes of animals with their preposition. */
export const dens = [
  "in a hollow tree",
  "under the roots of an old oak",
  "in a warm burrow",
  "near a clear stream",
  "at the edge of the forest",
  "in a nest of leaves",
  "behind a big grey rock",
  "on a hill full of flowers",
  "in the reeds by the pond",
  "in a cave that was dry and warm",
];

/** Adjectives for the weather. */
export const weather = ["sunny", "windy", "warm", "cold", "rainy", "bright", "cloudy", "snowy", "foggy", "hot"];
/** Times at the beginning of a sentence. */
export const times = [
  "One day",
  "One morning",
  "One afternoon",
  "One sunny morning",
  "One cold day",
  "On a windy day",
  "One evening",
  "Last summer",
  "One Saturday",
  "On Monday",
  "On the first day of spring",
  "In the autumn",
  "One quiet Sunday",
  "Early one morning",
  "After lunch one day",
  "On a rainy afternoon",
];
/** Grown-up relatives. */
export const relatives = ["mother", "father", "grandmother", "grandfather", "aunt", "uncle"];
/** Occupations. */
export const workers = [
  "baker",
  "farmer",
  "doctor",
  "gardener",
  "fisherman",
  "carpenter",
  "driver",
  "librarian",
  "painter",
  "postman",
  "shopkeeper",
  "tailor",
  "miller",
  "sailor",
];

/** Words for being happy. */
export const happy = ["happy", "glad", "delighted", "very happy", "overjoyed"];
/** Words for being sad. */
export const sad = ["sad", "upset", "unhappy", "worried", "very sad", "disappointed"];
/** Words for being afraid. */
export const afraid = ["afraid", "scared", "frightened", "nervous", "a little afraid"];
/** Adverbs for careful movements. */
export const slowly = ["slowly", "carefully", "quietly", "gently", "softly"];
/** Things to see, with their article or number. */
export const sights = [
  "a tall tree",
  "a white swan",
  "a rainbow",
  "a row of little boats",
  "a brown horse",
  "two butterflies",
  "a nest with three eggs",
  "a long green train",
  "a field of flowers",
  "an old stone wall",
  "a fat grey cat",
  "a windmill",
  "a shining star",
  "a red balloon",
  "a family of ducks",
  "a snail on a leaf",
  "a deer with big eyes",
  "a silver fish",
];
/** Noises with their article. */
export const noises = [
  "a loud bang",
  "a strange sound",
  "a soft cry",
  "a scratching noise",
  "a long howl",
  "a squeak",
  "a knock",
  "a rustle",
  "a thump",
  "a small voice",
];
/** Ends of "play …", such as "tag" or "with marbles". */
export const games = [
  "hide and seek",
  "tag",
  "football",
  "catch",
  "with marbles",
  "a board game",
  "in the sand",
  "with the kite",
  "a guessing game",
  "with wooden blocks",
];
/** The lesson of each plot, if it has one. */
export const lessons = {
  lostThing: [
    "friends help each other",
    "two can look better than one",
    "it is good to put things back in their place",
    "it is all right to ask for help",
  ],
  brokenThing: [
    "telling the truth is best",
    "the truth is never as bad as a lie",
    "it is wise to be careful",
    "saying sorry makes the heart light",
  ],
  cooking: ["trying again is better than giving up", "even a mistake can end well", "food tastes best with friends"],
  fearOfNoise: [
    "there is no need to be afraid of the dark",
    "things look smaller in the light",
    "it is all right to ask for help",
    "being brave means going on even when you are afraid",
  ],
  sickFriend: ["being kind makes everyone happy", "a friend is the best medicine", "friends help each other"],
  birthday: ["a gift made with love is the best gift", "the best things cost no money", "giving is as nice as getting"],
  argument: [
    "it is good to share",
    "saying sorry can mend a friendship",
    "a friend is worth more than a toy",
    "taking turns is fair",
  ],
  newFriend: ["a kind word is a good beginning", "everyone needs a friend", "small friends can be great friends"],
  rescue: [
    "it is good to help the weak",
    "working together makes hard work easy",
    "it is all right to ask for help",
    "small hands can do great things",
  ],
  garden: ["good things take time", "a little patience goes a long way", "what you care for will grow"],
  building: [
    "trying again is better than giving up",
    "working together makes hard work easy",
    "you can learn from a mistake",
    "good work takes time",
  ],
  learning: [
    "a little practice every day goes a long way",
    "nobody can do everything on the first day",
    "trying again is better than giving up",
  ],
  storm: ["it is good to be together in a storm", "after the rain the sun comes out", "friends help each other"],
  treasure: [
    "a friend is the greatest treasure",
    "looking for a thing can be more fun than finding it",
    "it is good to share",
  ],
  kindness: [
    "those who help will be helped",
    "kindness comes back to those who give it",
    "it is good to share",
    "nobody is too poor to be kind",
  ],
};
/** Things that can break in a fall. */
export const fragile = [
  "vase",
  "cup",
  "plate",
  "lamp",
  "clock",
  "mirror",
  "jug",
  "bowl",
  "teapot",
  "flower pot",
  "glass",
  "picture frame",
];
