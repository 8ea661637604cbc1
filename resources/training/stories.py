"""A small grammar that writes short stories: twelve plots, each a few paragraphs of alternatives.

In a template `{a|b}` picks one alternative (they nest) and `[name]` inserts a fact of the story. Facts are drawn once per
story, so the hero, the friend and the thing stay the same from the first sentence to the last.
"""

import random
import re

import words as w

_CHOICE = re.compile(r"\{([^{}]*)\}")
_FACT = re.compile(r"\[(\w+)\]")


def expand(template, facts, rng):
    while True:
        template, n = _CHOICE.subn(lambda m: rng.choice(m.group(1).split("|")), template)
        if not n:
            break
    text = _FACT.sub(lambda m: facts[m.group(1)], template)
    text = "\n\n".join(" ".join(p.split()) for p in text.strip().split("\n\n"))
    return re.sub(r"(^|[.!?]\s+\"?|\n\n\"?)([a-z])", lambda m: m.group(1) + m.group(2).upper(), text)


def made_up_name(rng):
    """So that the student learns to copy names that it has never seen."""
    name = "".join(rng.choice("bdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.choice([2, 2, 3])))
    return (name + rng.choice(["", "", "n", "r", "l", "s", "k"])).capitalize()


def draw_name(she, rng):
    draw = rng.random()
    if draw < 0.15:
        return made_up_name(rng)
    if draw < 0.4:
        return rng.choice(w.MORE_HER_NAMES if she else w.MORE_HIS_NAMES)
    return rng.choice(w.HER_NAMES if she else w.HIS_NAMES)


def draw_hero(rng):
    draw = rng.random()
    return rng.choice(w.ANIMALS if draw < 0.5 else w.PEOPLE if draw < 0.8 else w.MORE_HEROES)


def draw_facts(rng):
    kind = other = draw_hero(rng)
    while other == kind:
        other = draw_hero(rng)
    female = {"queen", "princess", "witch", "grandmother", "girl", "mermaid", "cow", "hen", "aunt", "sister", "nun"}
    male = {"king", "prince", "grandfather", "boy", "wizard", "knight", "fisherman", "postman", "rooster", "bull", "uncle",
            "brother", "monk", "priest"}
    she = kind in female or (kind not in male and rng.random() < 0.5)
    name = friend = draw_name(she, rng)
    while friend == name:
        friend = draw_name(other in female or (other not in male and rng.random() < 0.5), rng)
    adjective = rng.choice(w.ADJECTIVES)
    quality, thing = rng.choice(w.QUALITIES), w.spoken(rng.choice(w.OBJECTS))
    skill, skilling = rng.choice(w.SKILLS)
    kind, other = w.spoken(kind), w.spoken(other)
    return dict(
        kind=kind, other=other, name=name, friend=friend, adj=adjective, a_kind=w.an(f"{adjective} {kind}"),
        a_other=w.an(other), he="she" if she else "he", him="her" if she else "him", his="her" if she else "his",
        place=rng.choice(w.PLACES), thing=thing, q_thing=f"{quality} {thing}", a_thing=w.an(f"{quality} {thing}"),
        food=rng.choice(w.FOODS), skill=skill, skilling=skilling, build=rng.choice(w.THINGS))


OPENING = """{Once upon a time|Long ago|Once|One spring|Not so long ago|Many years ago}{, there lived|, there was}
[a_kind] named [name]. {[name] lived [place].|[his] home was [place].|[name] had a small home [place].|Every day [name]
{walked|played|worked} [place].} """

MORAL = {
    "lost": "{never giving up|looking carefully|asking for help|hope}", "friend": "friendship", "storm": "courage",
    "share": "{sharing|kindness}", "learn": "{patience|practice|learning}", "noise": "{fear|being brave at night|the dark}",
    "build": "{teamwork|working together}", "truth": "{honesty|telling the truth}", "wish": "{a wish|magic}",
    "seed": "{patience|a garden|growing things}", "race": "{a race|fairness|helping}", "party": "{a birthday|a surprise}",
}

PLOTS = {
    "lost": """{[name]'s favorite thing was|More than anything, [name] loved|[name] was very proud of} [a_thing]. {It was
a gift from [his] {grandmother|grandfather|mother|father|best friend}.|[he] carried it everywhere.|[he] took it along
wherever [he] went.}

One {morning|day|windy day|cold morning}, the [q_thing] was gone! [name] looked {under the bed|behind the door|in the
kitchen}, {but it was not there|but found only dust}. [he] looked {by the well|under the old bridge|in the tall grass}, but it was
not there either. {"Oh no," said [name]. "What will I do now?"|[name] sat down and {began to cry|sighed}.|[name] felt very sad.}

{Just then|After a while|Soon}, [a_other] named [friend] came by. "{What is wrong|Why are you so sad}?" asked [friend].
"I lost my [thing]," said [name]. "{Do not worry|Do not give up}," said [friend]. "{We will look together|Four eyes see more
than two|I will help you}." {They searched all afternoon.|They looked everywhere, step by step.|Together they walked back
along the path.}

{At last|Finally|When the sun was low}, [friend] pointed at {a pile of leaves|a hollow tree|a nest high in a tree|a bush}.
"{Look|Look there}!" There was the [q_thing]! [name] {laughed with joy|jumped up and down|hugged [friend]}. "Thank you," said
[name]. "{I could not have done it without you|You are a true friend}." From that day on, [name] {took good care of the
[thing]|always kept the [thing] in a safe place}, and [name] and [friend] were the best of friends.""",
    "friend": """[name] had {everything [he] needed|a warm bed and plenty of [food]}, but {[he] had no one to talk
to|[he] was lonely}. {In the evening [he] looked out of the window and wished for a friend.|"I wish I had a friend," [he]
said every night.}

One {day|rainy day|evening}, {someone knocked at the door|[name] heard a small voice}. It was [a_other]. "My name is
[friend]," said the [other]. "{I am new here and I do not know anyone|I have lost my way|I am cold and wet}. {May I come
in|Can I sit with you}?" [name] was {shy at first|surprised}, but [he] {smiled and opened the door.|said, "Of course you
can."}

They {drank tea|sat by the fire|ate [food]} and talked for hours. [friend] {told funny stories|sang a song|knew many
games}, and [name] {laughed and laughed|showed [friend] [his] [q_thing]}. {When it was time to go, [name] felt sad
again.|Soon it grew dark.} "{Will you come back|Will I see you again} tomorrow?" asked [name]. "{Yes|Of course}," said
[friend]. "{That is what friends do|I would like that very much}."

And [friend] did come back, {the next day and the day after that|every single day}. {[name] was never lonely again.|Now
[name]'s home was full of laughter.} {[name] learned that a friend can come when you least expect it.|Sometimes all it takes
is to open the door.}""",
    "storm": """{Everyone said that [name] was too {small|quiet|careful} for adventures.|[name] often dreamed of being
a hero.|[name] was afraid of only one thing: storms.}

One {night|evening|afternoon}, {a great storm came|dark clouds filled the sky}. The wind {howled|blew hard} and the rain
{fell and fell|beat against the windows}. Then [name] heard a cry: "{Help|Help me, please}!" It was [friend], [a_other] who
lived nearby. {The river had risen, and [friend] was stuck on a rock.|A tree had fallen, and [friend] was trapped under its
branches.|[friend] had slipped into a deep hole and could not get out.}

[name]'s heart beat fast. "{I am scared|I am afraid}," [he] thought, "but [friend] needs me." So [he] took {a long rope|a strong
rope} and {[his] [q_thing]|a lamp} and ran out into the rain. [he] {tied the rope to a tree|held on tight} and called,
"{Take the rope|Hold on to the rope}! I will pull!" [name] pulled and pulled, {until [his] hands hurt|with all [his]
strength}. {At last|Little by little}, [friend] was free.

They {ran home|hurried inside} and warmed themselves {by the fire|with hot soup}. "{You saved me|You are so brave}," said
[friend]. "{I was afraid the whole time|I was very scared}," said [name]. [friend] smiled. "{Being brave means that you are
afraid and you help anyway|That is what makes you brave}." {The next morning the sun was shining, and everyone in the village
had heard about [name], the brave [kind].|In the morning the storm was over, and [name] was not afraid of storms anymore.}""",
    "share": """{That {summer|autumn|year}, [name] had|One day, [name] came home with} a big basket full of [food].
"{It is all mine|I will eat every bit myself}," [he] said happily.

On the way home, [name] met [a_other] named [friend]. [friend] looked {thin and tired|hungry and cold}. "{Could I have a
little of your [food]|May I have just one bite}, please?" asked [friend]. "{I have not eaten since yesterday|There is nothing
left in my house}." [name] held [his] basket tight. "{No|I am sorry}," [he] said. "{I need it all|This is mine}." And [he] walked
on.

But {that night|at home}, the [food] did not taste good. [name] thought of [friend], {alone in the cold|who had nothing to
eat}. {[he] could not sleep.|[his] heart felt heavy.} So [name] {got up|put on [his] coat}, took the basket and went back. "I am
sorry," said [name]. "{Please, eat with me|Let us share it}." [friend]'s eyes {grew wide|shone}. "{Thank you|You are very kind},"
said [friend].

They ate together under the {stars|moon}, and it was the best meal that [name] had ever had. {Later, when winter came
and [name] had nothing left, it was [friend] who brought a basket to [his] door.|After that, [name] always shared, and [he]
always had a friend.} {[name] learned that things taste better when they are shared.|What you give away with love comes back to
you.}""",
    "learn": """{More than anything, [name] wanted to [skill].|[name] had one big dream: [he] wanted to [skill].|All of
[his] friends could [skill], but [name] could not.}

{On Monday|The first time}, [name] tried, but {it went all wrong|[he] fell right on [his] nose}. {Some of the others
laughed.|[name]'s face turned red.} {On Tuesday|The next day}, [he] tried again, and it {went wrong again|was no better}. "{I will never
learn it|It is too hard for me}," said [name], and [he] {sat down under a tree|went home}.

[friend], an old [other], {had watched everything|sat down beside [him]}. {"Do you know how often I
failed?" asked|"It took me a whole year, too," said} [friend]. "{Everyone starts small|You only fail when you stop trying}. {Come, I will show
you|Let us practice together}." So every {morning|evening}, they practiced. {First they went very slowly.|[friend] was
patient.} {Day after day, [name] got a little better.|Each day was a little easier than the last.}

{One month later|When spring came|At the summer fair}, [name] {tried once more|stood in front of everyone}. [he] took a deep
breath, {thought of [friend]|closed [his] eyes for a moment}, and began. {It worked|[he] did it}! Everybody {clapped|cheered}. [name]
{ran to [friend]|looked at [friend]} and said, "{Thank you for believing in me|You were right}." And [friend] said, "{You did it
yourself|I only reminded you to keep trying}." From then on, {[name] loved [skilling] more than anything|[skilling] was [name]'s
greatest joy}.""",
    "noise": """{One night|Late one evening}, when the moon was {full|high}, [name] {woke up|could not sleep}. There was
a strange noise outside: {tap, tap, tap|scratch, scratch, scratch|whoo, whoo, whoo}. [name] pulled the blanket over [his] head.
"{Is it a monster|Who is there}?" [he] whispered. {Nobody answered.|The noise did not stop.}

{For a long time, [name] did not move.|[name]'s heart went boom, boom, boom.} Then [he] thought, "{If I do not look, I will be afraid all
night|A noise is only a noise until you look}." So [he] {lit a candle|took a lamp}, {tiptoed to the door|walked slowly to the
window} and {opened it|looked out}.

There, in the {dark|moonlight}, sat [a_other], {shaking with cold|looking very sad}. "{Please do not be afraid|I am sorry that I woke
you}," it said. "My name is [friend]. {I lost my [thing] and I am trying to find it|I could not find my way home in the
dark}." [name] {had to laugh|smiled}. "{I thought that you were a monster|I was so afraid of you}!" "{And I was afraid of
you|And I thought a monster lived here}," said [friend].

They both laughed. [name] {held up the light|took [his] lamp}, and together they {found what they were looking for|walked
through the night until all was well}. {When [name] was back in bed, the night did not seem so dark anymore.|Since then, when [name]
hears a noise at night, [he] thinks of [friend] and smiles.}""",
    "build": """{One day|One spring morning}, [name] {had an idea|said to [his] neighbors}: "{Let us build a [build]|What we need
is a [build]}!" {[name] began to work all alone.|[name] wanted to do it all alone.} [he] carried {wood|stones} and {hammered|dug}
from morning to night. But {the [build] was crooked|in the evening everything fell down}. "{It is no use|I cannot do it
alone}," said [name].

[friend], [a_other], {came along|stopped to look}. "{I am good at measuring|I can carry heavy things|I have good tools},"
said [friend]. "{May I help|Shall we try it together}?" {At first [name] did not want any help.|[name] thought about it.} But then [he] said, "{Yes,
please|All right, let us try}."

{[friend] brought some friends along, too.|Soon others came to help.} One {sawed|dug}, one {painted|carried water}, one {cooked
[food] for everybody|sang a song so that the work went faster}. {When something went wrong, they laughed and tried again.|They
listened to each other's ideas.} {After three days|By the end of the week}, it was done: the finest [build] {that anyone had
ever seen|in the whole land}.

"{We did it|Look what we made}!" cried [name]. They {had a feast|celebrated until late at night}. {[name] learned that many
hands make light work.|And [name] knew: together, you can do what nobody can do alone.}""",
    "truth": """[name]'s friend [friend] was [a_other]. {[friend] owned|The most precious thing that [friend] owned was}
[a_thing]. {"Please be careful with it," [friend] always said.|[friend] had kept it for many years.}

One {day|afternoon}, {while they were playing|while [friend] was away}, [name] picked up the [thing] {just to look at
it|and turned it around and around}. It slipped out of [his] hands and {broke|fell to the ground}. Crack! [name] {looked
around|turned pale}. {Nobody had seen it.|[he] was all alone.} [name] hid the broken [thing] {under the bed|behind a bush}
and ran home.

That evening, [friend] asked everyone, "{Have you seen my [q_thing]|Where is my [thing]}?" [name] {said nothing|shook [his] head}.
But {[his] tummy hurt|[he] could not sleep}, and {the secret felt as heavy as a stone|[he] thought of it all night}. {In
the morning|At last}, [name] went to [friend]. "{I broke your [thing]|It was me}," [he] said. "{I was afraid to tell you|I hid
it because I was scared}. I am so sorry."

[friend] was quiet for a moment. {"I am sad about the [thing]," said [friend], "but I am glad that you told me the truth."|Then [friend]
said, "Thank you for telling me. A [thing] can be mended, and so can a friendship."} Together they {glued the pieces|mended
it}. {It did not look quite the same, but [friend] loved it even more.|You could still see the crack, but that did not
matter.} And [name] felt {as light as a feather|happy again}. {From that day on, [name] always told the truth.|[name] had learned that
the truth is easier to carry than a secret.}""",
    "wish": """One day, [name] found [a_thing] {on the path|in the grass|under a stone}. When [he] {touched it|rubbed it|picked
it up}, a {tiny|soft} voice said, "{I am a magic [thing]|You have found me}. {You have one wish|I will grant you one wish}. {Use it
well|Think carefully}."

"One wish!" said [name]. [he] thought about {gold and jewels|a big castle}. [he] thought about {a mountain of
[food]|never having to work again}. {[name] walked up and down and could not decide.|[he] thought about it for three days.}

Then [name] met [friend], [a_other]. [friend] was {crying|very sad}. "{My little house burned down|My mother is very sick|The well is
dry and we have no water}," said [friend]. "{I do not know what to do|Nobody can help us}." [name] looked at the [q_thing].
[he] thought of the {castle|gold} one last time. Then [he] {closed [his] eyes|held it tight} and said, "I wish that {all will be
well for [friend]|[friend] can be happy again}."

{There was a flash of light|The [thing] glowed}, and {the wish came true|everything was well again}! [friend] {danced with
joy|hugged [name]}. The magic was gone, and the [thing] was just [a_thing]. {"Are you sorry that you have no wish left?" asked
[friend].|"You gave your only wish to me," said [friend].} "{No|Not at all}," said [name]. "{I have a friend now, and that is
better than gold|Seeing you smile is the best wish of all}." """,
    "seed": """One {spring|morning}, {an old [other] named [friend]|[friend], an old [other],} gave [name] a tiny seed. "{Plant
it and take care of it|Be patient with it}," said [friend], "{and you will see a wonder|and one day it will surprise you}."

[name] planted the seed in the {garden|soft earth} and watered it. {The next day, [he] ran outside, but there was
nothing to see.|[he] waited one day, then two days, then three. Nothing happened.} "{Maybe it is a bad seed|It does not work}," said
[name]. {[he] wanted to dig it up.|"I want it to grow now!"} But [friend] {shook [his] head|smiled} and said, "{Good things need
time|Wait a little longer}."

So [name] waited. [he] gave it water {when it was dry|every morning} and {pulled out the weeds|sang to it|kept the birds away}.
{The sun shone, and the rain fell.|Days turned into weeks.} Then, one morning, there was a {small green leaf|tiny green
tip}! [name] {danced around it|called [friend] at once}. {Every day it grew a little taller.|It grew and grew.}

By the end of summer, it was a tall {apple tree|sunflower|rose bush|cherry tree}, {the most beautiful one far and
wide|taller than [name]}. {Everyone came to see it.|Birds and bees came to visit.} "{You were right|It was worth the wait}," said
[name] to [friend]. {And [he] gave a new seed to a child, and said, "Be patient."|And together they sat in its shade and were
happy.}""",
    "race": """Every year there was a big race [place]. The winner got [a_thing]. {[name] had trained for months.|[name]
wanted to win it more than anything.} {But [friend], [a_other], was very fast, too.|Nobody had ever beaten [friend], [a_other].}

"{Ready, set, go|One, two, three, go}!" {Everyone ran off.|The race began.} [name] ran {as fast as [he] could|like the wind}. {Past
the old mill, over the bridge, up the hill.|Soon all the others were far behind.} Only [friend] was {just ahead|right beside
[him]}. Then, {near the end|on the last hill}, [friend] {stumbled and fell|tripped over a root}. "{Ouch|My leg}!" cried [friend].

[name] could see the finish line. {[he] could win now!|Only a few more steps!} But [he] {stopped|turned around} and {went
back|bent down}. "{Are you hurt|Can you stand up}?" asked [name]. "{Why did you stop|You could have won}!" said [friend].
"{A friend is worth more than a prize|I do not want to win like that}," said [name], and [he] {helped [friend] up|let [friend] lean on
[his] shoulder}. Side by side, they {walked|limped} over the finish line, {last of all|long after the others}.

But {everyone clapped for them|the crowd cheered louder than ever before}. {The judge gave the [q_thing] to both of them.|"The
prize goes to the kindest runner," said the judge, and gave [name] the [q_thing].} {They took turns keeping it, one week
each.|[name] and [friend] have trained together ever since.}""",
    "party": """{It was [name]'s birthday.|Tomorrow was [name]'s birthday.} {[he] had been counting the days.|[he] was so
excited that [he] could hardly eat.} But {in the morning|when the day came}, nobody said a word. {[name] went to see [friend],
[a_other], but [friend] said, "I am sorry, I have no time today."|[name] met [friend], [a_other], but [friend] only waved and hurried
past.} {Everybody seemed busy.|The others whispered and ran away.}

"{They have all forgotten me|Nobody remembers my birthday}," thought [name]. {[he] walked alone to the river and threw stones
into the water.|[he] went home and sat in [his] chair, all alone.} {A tear rolled down [his] cheek.|It was a very long day.}

{In the evening|When the sun went down}, there was a knock at the door. {It was a note: "Please come to the old barn."|It was [friend]. "Come
quickly," said [friend]. "I must show you something."} [name] went along, {slowly and sadly|wondering what it could be}. The {barn|place}
was dark and quiet. Then {all the lights went on|a hundred candles were lit}. "Surprise!" shouted everyone. "Happy birthday,
[name]!"

There was {a big cake|a table full of [food]} and {music|colorful balloons}, and [friend] gave [name] [a_thing]. "{We were busy all
day because of this|We would never forget you}," said [friend]. [name] {laughed and cried at the same time|was the happiest [kind] in
the world}. They {danced|sang and played} until {midnight|the stars came out}, and it was {the best birthday ever|a day that [name]
never forgot}.""",
}

_SPECIFIC = """a [adj] [kind]|a [kind]|[name] the [kind]|a [kind] named [name]|a [kind] and {a [other]|[a_thing]}|a [adj]
[kind] and [a_thing]|a [kind] who lives [place]|a [adj] [kind] who lives [place]|[a_other] and a [kind]"""


def request(plot, facts, rng):
    """What a user might have asked to be told this story."""
    draw = rng.random()
    if draw < 0.05:
        return rng.choice(["Tell me a story.", "Tell me a short story.", "Can you tell me a story?", "Write a story."])
    if draw < 0.15:
        topic = "{" + MORAL[plot][1:-1] + "}" if MORAL[plot].startswith("{") else MORAL[plot]
    elif plot in ("lost", "wish", "truth") and draw < 0.3:
        topic = "[a_thing]"
    elif plot == "learn" and draw < 0.4:
        topic = "a [kind] who wants to [skill]"
    elif plot == "build" and draw < 0.4:
        topic = "a [kind] who builds a [build]"
    else:
        topic = "{" + _SPECIFIC + "}"
    ask = """{Tell me a story about|Tell me a story about|Tell me a story about|Tell me a short story about|Write a story
about|Write a short story about|Can you tell me a story about|Please tell me a story about|Tell me a bedtime story about|I
would like to hear a story about} """
    text = expand(ask + topic, facts, rng)
    text = re.sub(r"\ba (?=[aeiou](?!ni))", "an ", text)
    text = re.sub(r"\ban (?![aeiou])", "a ", text)
    return text + ("?" if text.startswith("Can") else ".")


def story(seed):
    """Returns (request, story)."""
    rng = random.Random(seed)
    facts, plot = draw_facts(rng), rng.choice(list(PLOTS))
    text = expand(OPENING + PLOTS[plot], facts, rng)
    if rng.random() < 0.15:
        text += " The end."
    return request(plot, facts, rng), text


LEAD = """{One day|One morning|One evening|One sunny day}, {[name] found [a_thing] [where]|[name] set out to look for [a_thing]|[name]
decided to visit [friend], [a_other]|[name] met [a_other] named [friend]|[name] heard that [friend], [a_other], needed help}."""

CLOSE = """{In the end|When evening came|At the end of the day}, [name] {went home happy|was tired but happy|smiled}. {It had been a
day to remember.|[he] had a new story to tell.|"{What a day|What an adventure}!" said [name].|And [name] knew that there is no
place like home.|From that day on, [name] was never lonely again.|[name] slept well that night.}"""


def frame(seed):
    """(request, opening, ending): the teacher writes what comes between."""
    rng = random.Random(seed)
    facts = draw_facts(rng)
    facts["where"] = rng.choice(["in the grass", "by the road", "under a tree", "in an old box", "near the water"])
    topic = "{a [adj] [kind]|a [adj] [kind]|[name] the [kind]|a [kind]|a [kind] named [name]|a [kind] who lives [place]}"
    text = expand("{Tell me a story about|Tell me a story about|Write a short story about|Tell me a tale about} " + topic, facts, rng)
    text = re.sub(r"\ba (?=[aeiou](?!ni))", "an ", text) + "."
    return text, expand(OPENING + "\n\n" + LEAD, facts, rng), expand(CLOSE, facts, rng), facts["name"]


if __name__ == "__main__":
    for i in range(12):
        print("###", *story(i), sep="\n")
    print("###", *frame(3), sep="\n")
