#!/usr/bin/env python3
"""Checks what each room of the tree may include and link; docs/architecture.md shows the rooms.

A room is a set of files. A file may include headers of its own room, and the public headers of the rooms that its
room may use. What a target links obeys the same table, and what a source includes is linked. Tests may include all.

Prints FILE:LINE and the reason for each violation; ends with 1 if there is one. `include_rules.py FOLDER` checks
another tree.
"""
import fnmatch
import pathlib
import re
import sys

# From the ground up: room | its files | rooms that it may use | its public headers, by file name (* = all).
# The longest pattern that fits a file decides. A line without a name goes on with the one above.
ROOMS = """
base      | kernels/base/*                       |                                 | *
tensors   | kernels/tensor.h                     | base                            | *
          | kernels/operations.h                 |                                 |
          | kernels/blocks.h                     |                                 |
          | kernels/operation_list.h             |                                 |
          | kernels/features.h                   |                                 |
          | kernels/host/*/sampling.h            |                                 |
device    | kernels/*                            | base tensors                    | *
host      | kernels/host/*                       | base tensors device             | command.h host_platform.h
          |                                      |                                 | operations.h pack.h
          |                                      |                                 | read_bandwidth.h run_operation.h
          |                                      |                                 | thread_team.h trace.h
          |                                      |                                 | trace_summary.h
cuda      | kernels/cuda/*                       | base tensors device host        | ceilings.h cuda_platform.h
          |                                      |                                 | probe.h

config    | engine/config/*                      | base                            | configuration_io.h parameter_page.h parameters.h
          |                                      |                                 | run_configuration.h sweep.h
system    | engine/system/*                      | base                            | *
protocol  | engine/protocol/*                    | base config                     | *
utf8      | engine/text/utf8.*                   |                                 | *
jinja     | engine/text/jinja/*                  | base utf8                       | jinja.h
text      | engine/text/*                        | base utf8 jinja                 | chat_template.h detokenizer.h
          |                                      |                                 | tokenizer.h
model     | engine/model/*                       | base                            | architecture.h model_spec.h
shapes    | engine/layers/*.h                    | base tensors model              | *
          | engine/layers/layer_scratch.cpp      |                                 |
          | engine/layers/layer_state.cpp        |                                 |
          | engine/layers/model_weights.cpp      |                                 |
weights   | engine/weights/*                     | base tensors host system model  | host_pages.h packed_file.h
          |                                      | shapes                          | packed_model.h
steps     | engine/layers/*                      | base tensors device model       | layer_step.h
          | engine/layers/layer_step.h           | shapes                          |
placement | engine/placement/*                   | base tensors config model       | engine_memory.h plan.h
          |                                      | shapes                          |
runtime   | engine/runtime/*                     | base tensors device host cuda   | compute_threads.h engine.h
          |                                      | config system model shapes      | platform.h reference.h setup.h
          |                                      | weights steps placement         |
bench     | engine/bench/*                       | base host config system         | environment.h limits.h runner.h
          |                                      | protocol text weights runtime   | session.h
worker    | engine/worker/*                      | base config system protocol     | compute_turn.h worker.h
          |                                      | text runtime bench              | worker_process.h

results   | results_db/*                         | base config                     | compare.h database.h exchange.h
          |                                      |                                 | export_markdown.h records.h
          |                                      |                                 | statistics.h telemetry.h
          |                                      |                                 | validation.h
recorder  | results_db/from_worker.*             | base config protocol results    | *
          | results_db/run_recorder.*            |                                 |
ui_models | ui/models/* ui/controllers/*         | base config system protocol     | *
          | ui/format.* ui/services.*            | model shapes placement results  |
          |                                      | recorder                        |
ui        | ui/*                                 | base config system placement    | application.h
          |                                      | results ui_models               |
app       | app/*                                | base host config system         |
          |                                      | protocol text runtime bench     |
          |                                      | worker results recorder ui      |
"""

# Libraries that only these rooms may include.
OUTSIDE = {r"Q[A-Z]\w*|Qt\w+/.*": {"ui_models", "ui"}, r"cuda.*|cublas.*|nvml.*": {"cuda"},
           r"SQLiteCpp/.*|sqlite3\.h": {"results"}, r"(gtest|gmock|benchmark)/.*": set()}

# Targets of headers alone; every other target belongs to the room of its sources.
HEADER_TARGETS = {"krasis_base": "base", "krasis_tensor": "tensors"}


class Room:
    def __init__(self, name):
        self.name, self.files, self.uses, self.public = name, [], set(), []

    def exposes(self, path):
        return any(fnmatch.fnmatch(path.rsplit("/", 1)[-1], name) for name in self.public)


def read_rooms():
    rooms = {}
    for line in filter(None, ROOMS.splitlines()):
        name, files, uses, public = (line.split("|") + [""] * 3)[:4]
        room = rooms.setdefault(name.strip(), Room(name.strip())) if name.strip() else room
        room.files += files.split()
        room.uses |= set(uses.split())
        room.public += public.split()
    return rooms


ROOM = read_rooms()


def room_of(path):
    fits = [(len(pattern), room) for room in ROOM.values() for pattern in room.files if fnmatch.fnmatch(path, pattern)]
    return max(fits, key=lambda fit: fit[0])[1] if fits else None


def includes(text):
    """(line, brackets, name) of each #include."""
    for found in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', text, re.M):
        yield text.count("\n", 0, found.start()) + 1, found[1] == "<", found[2]


def header_path(folder, path, name):
    """Where an include in quotes lies in the tree; None: nowhere."""
    beside = (pathlib.PurePosixPath(path).parent / name).as_posix()
    for candidate in (name, "kernels/base/" + name, beside):
        if (folder / candidate).is_file():
            return candidate
    return None


def check_file(folder, path):
    room = room_of(path)
    if room is None:
        yield 1, "belongs to no room: add it to the table of .ci/include_rules.py"
        return
    for line, brackets, name in includes((folder / path).read_text(encoding="utf-8")):
        if brackets:
            for library, rooms in OUTSIDE.items():
                if re.fullmatch(library, name) and room.name not in rooms:
                    yield line, f"<{name}> belongs to {', '.join(sorted(rooms)) or 'tests'}, not to {room.name}"
            continue
        header = header_path(folder, path, name)
        other = room_of(header) if header else None
        if other is None:
            yield line, f'"{name}" is in no room'
        elif other is not room and other.name not in room.uses:
            yield line, f"{room.name} may not use {other.name} ({name})"
        elif other is not room and not other.exposes(header):
            yield line, f"{name} is private to {other.name}"


class Target:
    def __init__(self, place, words, folder):
        self.place, self.links, self.public = place, set(), set()
        self.sources = {f"{folder}/{word}" for word in words if re.search(r"\.(cpp|cu)$", word)}

    def link(self, words):
        public = True
        for word in words:
            if word in ("PUBLIC", "PRIVATE", "INTERFACE"):
                public = word != "PRIVATE"
            elif word.startswith("krasis_"):
                self.links.add(word)
                if public:
                    self.public.add(word)

    def room(self, name):
        rooms = {room_of(source) for source in self.sources}
        return ROOM[HEADER_TARGETS[name]] if name in HEADER_TARGETS else rooms.pop() if len(rooms) == 1 else None


def read_targets(folder):
    targets = {}
    commands = r"(krasis_library|add_library|add_executable|target_link_libraries)\(([\w-]+)([^)]*)\)"
    for path in sorted(folder.glob("*/**/CMakeLists.txt")):
        relative = path.relative_to(folder).parent.as_posix()
        if relative.split("/")[0] in ("tests", "build"):
            continue
        text = re.sub(r"#.*", lambda comment: " " * len(comment[0]), path.read_text(encoding="utf-8"))
        for command, name, arguments in ((m, m[2], m[3].split()) for m in re.finditer(commands, text)):
            place = f"{relative}/CMakeLists.txt:{text.count(chr(10), 0, command.start()) + 1}"
            if command[1] != "target_link_libraries":
                targets[name] = Target(place, arguments, relative)
            if command[1] in ("krasis_library", "target_link_libraries") and name in targets:
                targets[name].link(arguments)
    return targets


def visible_rooms(targets, target):
    """Of a target's sources: the rooms that it links, and what those pass on."""
    seen, waiting = set(), list(target.links)
    while waiting:
        name = waiting.pop()
        if name in targets and name not in seen:
            seen.add(name)
            waiting += targets[name].public
    return {targets[name].room(name) for name in seen}


def check_targets(folder):
    targets = read_targets(folder)
    for name, target in targets.items():
        room = target.room(name)
        if room is None:
            continue
        for link in sorted(target.links & targets.keys()):
            other = targets[link].room(link)
            if other and other is not room and other.name not in room.uses:
                yield target.place, f"{name} is of {room.name}, which may not use {other.name} ({link})"
        visible = visible_rooms(targets, target) | {room}
        seen, waiting = set(), [source for source in sorted(target.sources) if (folder / source).is_file()]
        while waiting:  # the sources and the room's headers that they include
            path = waiting.pop()
            seen.add(path)
            for line, brackets, name_there in includes((folder / path).read_text(encoding="utf-8")):
                header = None if brackets else header_path(folder, path, name_there)
                other = room_of(header) if header else None
                if other and other not in visible:
                    yield f"{path}:{line}", f"{name} does not link {other.name} ({name_there})"
                if other is room and header not in seen:
                    waiting.append(header)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    violations = []
    for house in ("kernels", "engine", "results_db", "ui", "app"):
        for path in sorted((folder / house).rglob("*")):
            if path.suffix in (".h", ".cpp", ".cu", ".cuh", ".inc"):
                relative = path.relative_to(folder).as_posix()
                violations += [(f"{relative}:{line}", reason) for line, reason in check_file(folder, relative)]
    violations += check_targets(folder)
    for place, reason in violations:
        print(f"{place}: {reason}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
