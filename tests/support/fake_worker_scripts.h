#pragma once

#include <string_view>
#include <utility>

/// What the fake worker does, by name. A script has sections, "@start" and one for each kind of request; each line is
/// one action:
///
///   ready | ready-gpus | throttled | loaded | environment | warmups | repetitions [COUNT] | verdict-stage
///   loading STAGE DONE        finish VERDICT          tokens TEXT (one token for each word)
///   error CODE STAGE TEXT     log LEVEL TEXT          stderr TEXT
///   raw TEXT (a whole line)   partial TEXT (no line feed)   huge BYTES (one line)
///   sleep MS                  forever (until cancelled)     deaf (until killed)
///   heartbeats off            signal NUMBER           exit CODE
///
/// Requests that a script does not name are answered as in "ok".
inline constexpr std::pair<std::string_view, std::string_view> kFakeWorkerScripts[] = {
    {"ok", R"(
@start
ready
@load
loading quantize 0.5
loading quantize 1
loaded
@benchmark
loading quantize 1
loaded
environment
warmups
repetitions
verdict-stage
finish pass
@generate
loaded
tokens Once upon a time there was a small robot who liked **tea** very much.
finish none
)"},
    {"gpus", R"(
@start
ready-gpus
@benchmark
throttled
loaded
environment
repetitions
finish pass
)"},
    {"fail-verdict", R"(
@benchmark
loaded
environment
warmups
repetitions
finish fail
)"},
    {"slow", R"(
@benchmark
loaded
environment
warmups
repetitions
forever
@generate
loaded
tokens Once upon a time
forever
)"},
    {"slow-load", "@load\nloading quantize 0.1\nforever\n@benchmark\nloading quantize 0.1\nforever\n"},
    {"ignores-cancel", "@benchmark\nloaded\nwarmups\ndeaf\n@generate\nloaded\ntokens Once upon\ndeaf\n"},
    {"stall-start", "@start\nheartbeats off\ndeaf\n"},
    {"stall-load", "@load\nheartbeats off\ndeaf\n@benchmark\nloading quantize 0.25\nheartbeats off\ndeaf\n"},
    {"stall-run", R"(
@benchmark
loaded
environment
repetitions 1
heartbeats off
deaf
@generate
loaded
tokens Once upon
heartbeats off
deaf
)"},
    {"crash-start", "@start\nstderr cannot start: no reason\nsignal 11\n"},
    {"exit-start", "@start\nstderr krasis: error while loading shared libraries\nexit 127\n"},
    {"crash-load",
     "@load\nloading quantize 0.5\nstderr bad tensor\nsignal 11\n@benchmark\nloading quantize 0.5\nstderr bad "
     "tensor\nsignal 11\n"},
    {"crash-warm-up",
     "@benchmark\nloaded\nenvironment\nlog info the last words\nstderr segfault follows\nstage warm-up\nsignal 11\n"},
    {"crash-run", R"(
@benchmark
loaded
environment
warmups
repetitions 1
log warning the last words
stderr segfault follows
signal 11
@generate
loaded
tokens Once upon
signal 11
)"},
    {"crash-verdict", "@benchmark\nloaded\nenvironment\nwarmups\nrepetitions\nverdict-stage\nsignal 6\n"},
    {"killed", "@benchmark\nloaded\nenvironment\nwarmups\nrepetitions 1\nsignal 9\n"},
    {"exits", "@benchmark\nloaded\nwarmups\nexit 0\n"},
    {"out-of-memory", R"(
@load
error out_of_memory load The group buffers need 6.0 GiB, but the budget leaves 2.0 GiB.
@benchmark
loading quantize 0.5
error out_of_memory load The group buffers need 6.0 GiB, but the budget leaves 2.0 GiB.
@generate
error out_of_memory load The group buffers need 6.0 GiB, but the budget leaves 2.0 GiB.
)"},
    {"error-run", "@benchmark\nloaded\nwarmups\nrepetitions 1\nerror internal repetition The device gave up.\n"},
    {"cancelled-by-itself", "@benchmark\nloaded\nwarmups\nerror cancelled repetition Somebody else cancelled it.\n"},
    {"stray-error", R"(
@benchmark
loaded
raw {"v":1,"type":"error","id":"","code":"corrupt","cause":"That was no request.","remedy":"","stage":"request"}
warmups
repetitions
finish pass
)"},
    {"nonsense", R"(
@start
raw Welcome to the machine!
ready
@benchmark
raw {"v":1,"type":"sample","id":
raw {"v":1,"type":"jump"}
raw Segmentation fault? No, only nonsense.
loaded
warmups
repetitions
finish pass
)"},
    {"partial-line", "@benchmark\nloaded\npartial {\"v\":1,\"type\":\"samp\nexit 0\n"},
    {"huge-line", "@benchmark\nloaded\nhuge 17000000\nrepetitions\nfinish pass\n"},
    {"wrong-version", "@start\nraw {\"v\":2,\"type\":\"ready\"}\n"},
};
