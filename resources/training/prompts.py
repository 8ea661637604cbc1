"""What the teacher is asked. Everything about prompt number i follows from i, so a sample needs only its number."""

import random

import stories
import words as w

TEACHER_EOS = 2


def question(rng):
    noun, animal, person = rng.choice(w.NOUNS), w.spoken(rng.choice(w.ANIMALS)), w.spoken(rng.choice(w.PEOPLE))
    adjective, verb, thing = rng.choice(w.ADJECTIVES), rng.choice(w.VERBS), w.spoken(rng.choice(w.OBJECTS))
    concept, skill, other = rng.choice(w.CONCEPTS), rng.choice(w.HOW_TO), rng.choice(w.NOUNS)
    return rng.choice([
        f"What is {w.an(noun)}?", f"What is {w.an(noun)} used for?", f"Can you explain what {w.an(noun)} is?",
        f"Tell me something about {w.an(noun)}.", f"Describe {w.an(noun)}.", f"Why is {w.an(noun)} important?",
        f"How does {w.an(noun)} work?", f"What can you see near {w.an(noun)}?", f"What does {w.an(animal)} eat?",
        f"Where does {w.an(animal)} live?", f"What does {w.an(animal)} look like?", f"What is special about {w.an(animal)}?",
        f"How does {w.an(animal)} move?", f"Tell me a fact about {w.an(animal)}.", f"What does {w.an(person)} do?",
        f"What does {w.an(person)} need?", f"Why do people {verb}?", f"When do people {verb}?",
        f"How do I {skill}?", f"How can I {skill}?", f"What do I need to {skill}?", f"Give me a tip: how do I {skill}?",
        f"What does it mean to be {adjective}?", f"How can I be more {adjective}?", f"Describe a {adjective} {person}.",
        f"What is {w.an(thing)}?", f"What is {w.an(thing)} made of?", f"Why is {concept} important?", f"What is {concept}?",
        f"What is the difference between {w.an(noun)} and {w.an(other)}?", f"Write a sentence about {w.an(noun)}.",
        f"Write one sentence about a {adjective} {animal}.", f"Describe {w.an(noun)} to a child.",
    ])


class Prompt:
    """kind 'qa' or 'story'; `request` is the student's user message, `teacher_text` what the teacher reads."""

    def __init__(self, number):
        rng = random.Random(f"prompt {number}")
        if rng.random() < 0.55:
            self.kind, self.opening, self.ending, self.name = "qa", "", "", ""
            self.request = question(rng)
            asked = self.request + rng.choice(
                [" Answer in one sentence.", " Answer in two short sentences.", " Answer in simple words, in two sentences."])
        else:
            self.kind = "story"
            self.request, self.opening, self.ending, self.name = stories.frame(rng.random())
            asked = self.request + rng.choice(
                [" Use simple words for a small child.", " Keep it short, with simple words.", " Make it short and happy."])
        self.teacher_text = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n{self.opening}"
        self.new_tokens = 96 if self.kind == "qa" else 120
