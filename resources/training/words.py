"""The vocabulary that seeds every prompt and every grammar-made story."""

ANIMALS = """fox bear rabbit owl mouse hedgehog squirrel frog turtle duck goose hen rooster cat kitten dog puppy wolf deer
moose badger otter beaver mole sparrow robin crow raven eagle parrot penguin seal whale dolphin octopus crab snail bee
butterfly ladybug spider ant cricket firefly horse pony donkey cow goat sheep lamb pig camel elephant lion tiger zebra
giraffe monkey panda koala kangaroo crocodile hippo rhino bat swan peacock pigeon lizard snake chameleon hamster raccoon
skunk salmon goldfish seahorse starfish jellyfish walrus reindeer llama sloth lemur gorilla flamingo stork heron""".split()

PEOPLE = """baker farmer sailor fisherman painter teacher doctor nurse gardener carpenter blacksmith shepherd miller tailor
cook clockmaker lighthouse-keeper postman librarian musician dancer king queen prince princess knight wizard witch pirate
captain explorer astronaut inventor scientist pilot engineer detective firefighter builder weaver potter student grandmother
grandfather boy girl child hunter woodcutter magician clown juggler singer poet merchant traveler giant dwarf elf fairy
mermaid dragon ghost robot snowman scarecrow unicorn goblin troll""".split()

# Heroes of grammar stories only, beside ANIMALS and PEOPLE.
MORE_HEROES = """spaceship train tractor bus car cloud star teapot snowflake computer alien monster vampire ninja superhero spy
dinosaur whale-watcher candle tree leaf boat balloon clock toaster lamp doll puppet statue storm mountain river moth rat weasel
lynx jaguar panther leopard hyena buffalo bison ox rooster turkey pheasant quail partridge cuckoo nightingale woodpecker kingfisher
pelican ostrich emu kiwi toad newt salamander iguana gecko shark ray squid shrimp lobster oyster clam worm beetle dragonfly wasp
caterpillar grasshopper mosquito ferret chinchilla guinea-pig armadillo platypus wombat tapir yak camel bull calf foal cub
teenager neighbor cousin uncle aunt brother sister mayor judge lawyer soldier guard thief beggar monk nun priest
hermit philosopher mathematician astronomer chemist student apprentice barber butcher grocer florist jeweler shoemaker
plumber electrician mechanic driver cyclist runner swimmer skater footballer goalkeeper coach referee actor dancer drummer pianist
violinist composer sculptor photographer writer journalist translator programmer gamer waiter chef dentist surgeon veterinarian""".split()

ADJECTIVES = """brave shy kind clever curious lonely happy sad tiny old young gentle grumpy sleepy hungry patient proud
lazy honest quiet noisy clumsy cheerful careful stubborn friendly forgetful lucky wise silly busy gentle nervous
adventurous generous polite playful dreamy little big strong fast slow thoughtful bold humble""".split()

HER_NAMES = """Mia Anna Lily Ella Nora Ruby Zoe Clara Ivy Rosa Maya Luna Daisy Alma Hazel Greta Bella Wren Olive Tilly Poppy
Fern Maple Juniper Willow Iris Pearl Flora Mabel Ada""".split()

HIS_NAMES = """Leo Tom Max Sam Ben Oscar Finn Hugo Theo Jack Felix Otto Milo Pip Toby Rufus Jonas Bruno Casper Barnaby Edgar
Gus Walter Ned Arthur Simon Henry Albert Stanley Percy""".split()

MORE_HER_NAMES = """Sarah Emma Olivia Sophie Julia Laura Lisa Kate Amy Alice Eva Hannah Maria Elena Nina Tina Lucy Grace Chloe Jane
Mary Susan Helen Diana Vera Rita Carla Paula Sandra Monika Aisha Fatima Yuki Mei Priya Leila Ingrid Astrid""".split()

MORE_HIS_NAMES = """John James Peter Paul David Daniel Michael Thomas Robert William Charlie George Edward Frank Fred Bob Bill Joe
Jim Tim Adam Alex Andrew Mark Luke Noah Liam Ethan Lucas Martin Karl Hans Omar Ali Ravi Kenji Wei Ivan Sven Lars Pablo
Diego""".split()

OBJECTS = """lantern key map kite boat drum flute violin bell book letter box coin ring crown scarf hat coat blanket
umbrella basket ladder rope mirror clock compass telescope wagon bicycle balloon ball doll puppet teapot cup spoon pot
candle feather shell stone pebble acorn seed flower apple pie cake pumpkin honey-jar bottle painting paintbrush pencil
button needle whistle trumpet lamp chest hammer saw bucket broom pillow""".split()

QUALITIES = """golden red blue green silver wooden old shiny small little broken new round striped magic beautiful paper
glass copper purple yellow white heavy tiny""".split()

PLACES = """in the forest|by the river|near the sea|on a small farm|in a little village|on top of a hill|at the edge of
the woods|in a big city|in a quiet valley|on an island|beside a lake|in a garden|near the mountains|in an old tower|under
a great oak tree|in a house with a red door|by the harbor|in a meadow|near a windmill|at the end of a long road"""
PLACES = [" ".join(p.split()) for p in PLACES.split("|")]

FOODS = """bread apples berries soup honey cookies pancakes carrots nuts cheese pears cherries plums cake muffins
porridge strawberries grapes corn potatoes""".split()

SKILLS = """swim|swimming;sing|singing;dance|dancing;paint|painting;fly a kite|flying a kite;bake bread|baking bread;
skate|skating;whistle|whistling;juggle|juggling;read|reading;climb|climbing;ride a bicycle|riding a bicycle;play the
drum|playing the drum;play the flute|playing the flute;row a boat|rowing a boat;draw|drawing;knit|knitting;jump
rope|jumping rope;tell jokes|telling jokes;write letters|writing letters"""
SKILLS = [tuple(" ".join(x.split()) for x in s.split("|")) for s in SKILLS.split(";")]

THINGS = """bridge boat treehouse fence swing windmill wagon raft snowman sandcastle kite birdhouse garden tower tent
oven well""".split()

VERBS = """sleep|cook|swim|sing|dance|read|write|travel|laugh|cry|run|paint|learn|dream|work|play|plant trees|build
houses|keep pets|drink water|eat vegetables|go to school|celebrate birthdays|tell stories|listen to music|wear shoes|save
money|share food|climb mountains|brush their teeth|wash their hands|make friends|say sorry|wear hats|light candles|take
photographs|grow flowers|bake bread|ride bicycles|visit museums|watch the stars|write letters|use maps|exercise|rest"""
VERBS = [" ".join(v.split()) for v in VERBS.split("|")]

HOW_TO = """bake bread|plant a seed|make tea|build a kite|wash a dog|tie a knot|draw a cat|clean a window|make a sandwich|
cook rice|learn a new language|make a new friend|fall asleep|stay warm in winter|take care of a plant|make soup|write a
letter|ride a bicycle|save water|find north without a compass|make a snowman|peel an orange|fold a paper boat|wash the
dishes|boil an egg|make pancakes|calm down|study for a test|say sorry|set a table|take care of a cat|feed birds"""
HOW_TO = [" ".join(v.split()) for v in HOW_TO.split("|")]

NOUNS = """lighthouse river mountain ocean desert forest volcano island cloud rainbow moon sun star planet comet season
winter summer thunder lightning snow ice fire water wind soil seed tree leaf root flower fruit bread salt sugar milk
cheese honey tea coffee rice wheat potato tomato apple orange banana clock compass map telescope microscope computer
telephone radio bicycle train airplane ship bridge castle tower windmill museum library school hospital farm market
kitchen garden window door key lamp candle mirror umbrella hammer needle rope wheel engine magnet battery camera book
pencil paper letter newspaper song drum violin piano guitar painting statue poem story game chess football heart brain
bone blood skin eye ear hand tooth shadow echo dream memory friend family teacher king money coin gold silver iron glass
wood stone sand coral feather wing egg nest shell web hive cave tunnel lake waterfall glacier earthquake storm fog
vaccine doctor language alphabet number calendar holiday birthday gravity electricity oxygen atom dinosaur fossil""".split()

CONCEPTS = """kindness honesty patience friendship courage sharing sleep exercise water music reading history science art
trust teamwork curiosity practice laughter forgiveness clean air sunlight gratitude time""".split()


def spoken(noun):
    return noun.replace("-", " ")


def an(noun):
    return ("an " if noun[0] in "aeiou" and not noun.startswith("uni") else "a ") + noun
