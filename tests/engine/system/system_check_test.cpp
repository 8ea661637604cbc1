// What the system check makes of invented machines, of files that lie, and of this machine.
#include "engine/system/system_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sched.h>
#include <sys/stat.h>

#include <random>
#include <set>
#include <thread>

#include <nlohmann/json.hpp>

#include "engine/system/system_files.h"
#include "engine/system/topology.h"
#include "kernels/host/operations/operations.h"
#include "tests/engine/system/tree.h"

namespace krasis {

void PrintTo(Severity severity, std::ostream* out) { *out << to_string(severity); }

namespace {

using test::Tree;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const char* const kIds[] = {"governor", "smt", "transparent_huge_pages", "huge_page_pool", "numa", "memory", "instruction_sets",
                            "cpu_quota", "cpu_affinity"};

constexpr const char* kCpu = "sys/devices/system/cpu/";

/// A finding as users need it: something to read always, something to do when it warns, and text that JSON can hold.
void expect_well_formed(const std::vector<Finding>& findings) {
  ASSERT_EQ(findings.size(), std::size(kIds));
  for (std::size_t i = 0; i < findings.size(); ++i) {
    const Finding& f = findings[i];
    SCOPED_TRACE(f.id + ": " + f.detail);
    EXPECT_EQ(f.id, kIds[i]);
    EXPECT_THAT(f.title, Not(IsEmpty()));
    EXPECT_THAT(f.detail, Not(IsEmpty()));
    EXPECT_TRUE(f.severity != Severity::Warning || !f.remedy.empty()) << "a warning without a remedy";
    for (const std::string* text : {&f.title, &f.detail, &f.remedy}) {
      EXPECT_LE(text->size(), 1000u);
      for (const char c : *text) EXPECT_TRUE(static_cast<unsigned char>(c) >= ' ') << "control character";
    }
  }
  EXPECT_EQ(nlohmann::json::parse(to_json(findings)).size(), findings.size());
}

TEST(SystemCheck, AWellSetMachineHasNothingToRemedy) {
  Tree tree;
  tree.good();
  const auto findings = tree.check();
  expect_well_formed(findings);
  EXPECT_THAT(findings, Each(AllOf(Field(&Finding::severity, Severity::Ok), Field(&Finding::remedy, IsEmpty()))));
}

TEST(SystemCheck, AnEmptyRootIsUnknownThroughout) {
  Tree tree;
  const auto findings = tree.check();
  expect_well_formed(findings);
  EXPECT_THAT(findings, Each(Field(&Finding::severity, Severity::Unknown)));
}

TEST(SystemCheck, ARootThatIsNotThereIsUnknownThroughout) {
  const auto findings = check_system({"/no/such/folder"});
  expect_well_formed(findings);
  EXPECT_THAT(findings, Each(Field(&Finding::severity, Severity::Unknown)));
}

TEST(SystemCheck, JsonHasEveryMember) {
  const std::vector<Finding> findings{{"smt", Severity::Info, "SMT \"on\"", "2 cores,\n4 CPUs", "Use 2\xff"}};
  const auto json = nlohmann::json::parse(to_json(findings));
  EXPECT_EQ(json[0]["id"], "smt");
  EXPECT_EQ(json[0]["severity"], "info");
  EXPECT_EQ(json[0]["title"], "SMT \"on\"");
  EXPECT_EQ(json[0]["detail"], "2 cores,\n4 CPUs");
  EXPECT_EQ(json[0]["remedy"], "Use 2\ufffd") << "bytes that are no UTF-8 are replaced";
  EXPECT_EQ(to_json({}), "[]");
}

// Governor -----------------------------------------------------------------------------------------------------------

TEST(Governor, PowersaveWarnsAndNamesTheCommand) {
  Tree tree;
  tree.good().cpus(4, 4, "powersave");
  const Finding f = tree.finding("governor");
  EXPECT_EQ(f.severity, Severity::Warning);
  EXPECT_THAT(f.title, HasSubstr("powersave"));
  EXPECT_THAT(f.detail, HasSubstr("powersave on 4 CPUs"));
  EXPECT_THAT(f.remedy, HasSubstr("cpupower frequency-set -g performance"));
}

TEST(Governor, OneSlowCpuIsEnough) {
  Tree tree;
  tree.good().write(std::string(kCpu) + "cpu2/cpufreq/scaling_governor", "schedutil\n");
  const Finding f = tree.finding("governor");
  EXPECT_EQ(f.severity, Severity::Warning);
  EXPECT_THAT(f.detail, AllOf(HasSubstr("performance on 3 CPUs"), HasSubstr("schedutil on 1 CPU")));
}

TEST(Governor, OnlyTheCpusOfTheProcessCount) {
  Tree tree;
  tree.good().write(std::string(kCpu) + "cpu2/cpufreq/scaling_governor", "schedutil\n").allow("0-1,3");
  EXPECT_EQ(tree.finding("governor").severity, Severity::Ok);
}

TEST(Governor, WithAPreferenceForPerformancePowersaveIsFast) {
  Tree tree;
  tree.good().cpus(2, 2, "powersave");
  for (const char* cpu : {"cpu0", "cpu1"}) {
    tree.write(std::string(kCpu) + cpu + "/cpufreq/energy_performance_preference", "performance\n");
  }
  EXPECT_EQ(tree.finding("governor").severity, Severity::Ok);
  tree.write(std::string(kCpu) + "cpu1/cpufreq/energy_performance_preference", "balance_power\n");
  EXPECT_EQ(tree.finding("governor").severity, Severity::Warning);
}

TEST(Governor, BoostThatIsOffIsSaid) {
  for (const auto& [file, value] : {std::pair{"cpufreq/boost", "0\n"}, std::pair{"intel_pstate/no_turbo", "1\n"}}) {
    Tree tree;
    tree.good().write(std::string(kCpu) + file, value);
    const Finding f = tree.finding("governor");
    EXPECT_EQ(f.severity, Severity::Info) << file;
    EXPECT_THAT(f.title, HasSubstr("boost off"));
  }
}

TEST(Governor, AVirtualMachineWithoutFrequencyControlIsUnknown) {
  Tree tree;
  tree.good().remove(kCpu).cpus(2, 2, "");
  EXPECT_EQ(tree.finding("governor").severity, Severity::Unknown);
}

// SMT and affinity ---------------------------------------------------------------------------------------------------

TEST(Smt, SiblingsAreCountedAndTheRemedyNamesTheThreads) {
  Tree tree;
  tree.good().cpus(16, 8).write(std::string(kCpu) + "smt/control", "on\n");
  const Finding f = tree.finding("smt");
  EXPECT_EQ(f.severity, Severity::Info);
  EXPECT_THAT(f.title, HasSubstr("16 CPUs for 8 cores"));
  EXPECT_THAT(f.detail, HasSubstr("SMT control: on"));
  EXPECT_THAT(f.remedy, HasSubstr("8 threads"));
}

TEST(Smt, CoresOutsideTheMaskDoNotCountForThreads) {
  Tree tree;
  tree.good().cpus(16, 8).allow("0-2,8-9");
  EXPECT_THAT(tree.finding("smt").remedy, HasSubstr("3 threads")) << "CPUs 0 and 8, 1 and 9 share cores";
}

TEST(Smt, ACpuThatIsNotItsOwnSiblingMakesTheTopologyUnknown) {
  Tree tree;
  tree.good().write(std::string(kCpu) + "cpu3/topology/thread_siblings_list", "0-1\n");
  EXPECT_EQ(tree.finding("smt").severity, Severity::Unknown);
  EXPECT_EQ(tree.finding("numa").severity, Severity::Unknown);
  EXPECT_EQ(tree.finding("cpu_affinity").severity, Severity::Ok) << "which needs no cores";
}

TEST(Affinity, FewerCpusThanOnlineIsSaid) {
  Tree tree;
  tree.good().cpus(16, 8).allow("0-1,8");
  const Finding f = tree.finding("cpu_affinity");
  EXPECT_EQ(f.severity, Severity::Info);
  EXPECT_THAT(f.title, HasSubstr("3 of 16 CPUs"));
  EXPECT_THAT(f.detail, AllOf(HasSubstr("0-1,8"), HasSubstr("on 2 of 8 physical cores")));
  EXPECT_THAT(f.remedy, HasSubstr("cpuset"));
}

TEST(Affinity, AMaskMayNameCpusThatAreNotThere) {
  Tree tree;
  tree.good().allow("0-127");
  const Finding f = tree.finding("cpu_affinity");
  EXPECT_EQ(f.severity, Severity::Ok);
  EXPECT_THAT(f.title, HasSubstr("4 CPUs"));
}

// Memory -------------------------------------------------------------------------------------------------------------

TEST(HugePages, NeverWarnsAlwaysAndMadviseDoNot) {
  Tree tree;
  tree.good();
  const std::string file = "sys/kernel/mm/transparent_hugepage/enabled";
  EXPECT_EQ(tree.write(file, "[always] madvise never\n").finding("transparent_huge_pages").severity, Severity::Ok);
  EXPECT_EQ(tree.write(file, "always [madvise] never\n").finding("transparent_huge_pages").severity, Severity::Ok);
  const Finding f = tree.write(file, "always madvise [never]\n").finding("transparent_huge_pages");
  EXPECT_EQ(f.severity, Severity::Warning);
  EXPECT_THAT(f.remedy, HasSubstr("echo madvise"));
  EXPECT_EQ(tree.write(file, "always [sometimes] never\n").finding("transparent_huge_pages").severity, Severity::Unknown);
  EXPECT_EQ(tree.write(file, "]always[\n").finding("transparent_huge_pages").severity, Severity::Unknown);
}

TEST(HugePages, AProcessThatMayNotHaveThemIsWarned) {
  Tree tree;
  tree.good().write("proc/self/status", "Cpus_allowed_list:\t0-3\nTHP_enabled:\t0\n");
  EXPECT_EQ(tree.finding("transparent_huge_pages").severity, Severity::Warning);
}

TEST(HugePages, AReservedPoolIsCountedInBytes) {
  Tree tree;
  tree.good().write("proc/meminfo",
                    "MemTotal: 67108864 kB\nMemAvailable: 60000000 kB\nHugePages_Total:    1024\nHugePages_Free:      512\n"
                    "Hugepagesize:       2048 kB\n");
  const Finding f = tree.finding("huge_page_pool");
  EXPECT_EQ(f.severity, Severity::Info);
  EXPECT_THAT(f.title, HasSubstr("2.0 GiB"));
  EXPECT_THAT(f.detail, AllOf(HasSubstr("512 of 1024"), HasSubstr("1.0 GiB")));
}

TEST(Numa, SeveralNodesAreListedWithTheirMemory) {
  Tree tree;
  tree.good().cpus(8, 8).write("sys/devices/system/node/online", "0-1\n").node(0, "0-3", 32 << 20).node(1, "4-7", 96 << 20);
  Finding f = tree.finding("numa");
  EXPECT_EQ(f.severity, Severity::Info);
  EXPECT_THAT(f.title, HasSubstr("2 NUMA nodes in 1 socket")) << "both are of package 0";
  EXPECT_THAT(f.detail, AllOf(HasSubstr("CPUs 0-3, 32.0 GiB"), HasSubstr("node 1: CPUs 4-7, 96.0 GiB")));
  EXPECT_THAT(f.remedy, AllOf(HasSubstr("numa = shards"), Not(HasSubstr("numa_balancing"))));
  f = tree.write("proc/sys/kernel/numa_balancing", "1\n").finding("numa");
  EXPECT_THAT(f.remedy, HasSubstr("kernel.numa_balancing=0"));
}

TEST(Numa, CpusWithoutMemoryWarnMemoryWithoutCpusDoesNot) {
  Tree tree;
  tree.good().write("sys/devices/system/node/online", "0-1\n").node(1, "", 128 << 20);
  EXPECT_EQ(tree.finding("numa").severity, Severity::Info) << "memory alone, as of CXL";
  tree.node(0, "0-3", 0);
  const Finding f = tree.finding("numa");
  EXPECT_EQ(f.severity, Severity::Warning);
  EXPECT_THAT(f.detail, HasSubstr("Node 0 has CPUs but no memory"));
}

TEST(Memory, LittleLeftWarns) {
  Tree tree;
  EXPECT_EQ(tree.good().memory(64, 17).finding("memory").severity, Severity::Ok);
  const Finding f = tree.memory(64, 15).finding("memory");
  EXPECT_EQ(f.severity, Severity::Warning);
  EXPECT_THAT(f.title, HasSubstr("15.0 GiB of 64.0 GiB"));
}

TEST(Memory, MoreAvailableThanThereIsIsUnknown) {
  Tree tree;
  EXPECT_EQ(tree.good().memory(64, 65).finding("memory").severity, Severity::Unknown);
}

// Instruction sets ---------------------------------------------------------------------------------------------------

TEST(InstructionSets, LevelsFollowTheFlags) {
  struct Case {
    const char* flags;
    Severity severity;
    const char* title;
    const char* detail;
  };
  for (const Case& c : {
           Case{"sse2 avx", Severity::Warning, "Scalar", "none of AVX2"},
           Case{"avx2 fma", Severity::Warning, "Scalar", "AVX2, FMA"},
           Case{"avx2 fma f16c avx_vnni", Severity::Info, "AVX2", "AVX-VNNI"},
           Case{"avx2 fma f16c avx512f avx512bw avx512dq avx512vl", Severity::Info, "AVX2", "need BW, DQ, VL and VNNI"},
           Case{"avx2 fma f16c avx512f avx512bw avx512dq avx512vl avx512_vnni amx_tile amx_int8 amx_bf16", Severity::Ok, "AMX",
                "AMX, AMX INT8, AMX BF16"},
       }) {
    Tree tree;
    const Finding f = tree.good().flags(c.flags).finding("instruction_sets");
    EXPECT_EQ(f.severity, c.severity) << c.flags;
    EXPECT_THAT(f.title, HasSubstr(c.title));
    EXPECT_THAT(f.detail, HasSubstr(c.detail));
  }
}

TEST(InstructionSets, AVirtualMachineIsToldHowToGetThem) {
  Tree tree;
  EXPECT_THAT(tree.good().flags("avx2 fma f16c hypervisor").finding("instruction_sets").remedy, HasSubstr("-cpu host"));
  EXPECT_THAT(tree.flags("avx2 fma f16c").finding("instruction_sets").remedy, IsEmpty());
}

TEST(InstructionSets, WhatTheProgramSaysGoesBeforeTheFlags) {
  Tree tree;
  tree.good();
  const auto findings = check_system({tree.root()}, "AVX2");
  EXPECT_THAT(findings[6].title, HasSubstr("AVX2"));
  EXPECT_EQ(findings[6].severity, Severity::Info);
}

// Files that lie -----------------------------------------------------------------------------------------------------

const char* const kFiles[] = {
    "proc/self/status", "proc/self/cgroup", "proc/self/mountinfo", "proc/meminfo", "proc/cpuinfo", "proc/sys/kernel/numa_balancing",
    "sys/devices/system/cpu/online", "sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
    "sys/devices/system/cpu/cpu0/topology/physical_package_id", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "sys/devices/system/cpu/smt/control", "sys/devices/system/cpu/cpufreq/boost", "sys/devices/system/node/online",
    "sys/devices/system/node/node0/cpulist", "sys/devices/system/node/node0/meminfo", "sys/kernel/mm/transparent_hugepage/enabled",
    "sys/fs/cgroup/cpu.max", "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat"};

TEST(Hostile, EachFileEmptyHugeOrGarbage) {
  std::string garbage(5000, '\0');
  std::mt19937 random(7);
  for (char& c : garbage) c = static_cast<char>(random());
  const std::string contents[] = {"",
                                  "\n",
                                  "99999999999999999999999999999999",
                                  "0-18446744073709551615\n",
                                  "-1\n",
                                  "0-16383\n",
                                  "3-1,,-\n",
                                  "0 0\n",
                                  "18446744073709551615 1\n",
                                  "0::/../../../etc\n4:memory,cpu:relative\n",
                                  "31 23 0:28 /../.. /../../etc rw - cgroup2 cgroup2 rw\n",
                                  ("MemTotal: 18446744073709551615 kB\nMemAvailable: 18446744073709551615 kB\n"
                                   "HugePages_Total: 18446744073709551615\nHugePages_Free: 0\n"
                                   "Hugepagesize: 18446744073709551615 kB\n"),
                                  std::string(3 << 20, ','),
                                  std::string(100000, '\n') + "x",
                                  garbage};
  for (const char* file : kFiles) {
    for (const std::string& text : contents) {
      SCOPED_TRACE(std::string(file) + " = " + text.substr(0, 40));
      Tree tree;
      tree.good().write(file, text);
      expect_well_formed(tree.check());
    }
  }
}

TEST(Hostile, AllFilesGarbageAtOnceTellNothingOfTheCpus) {
  std::mt19937 random(11);
  Tree tree;
  for (const char* file : kFiles) {
    std::string garbage(300, '\0');
    for (char& c : garbage) c = static_cast<char>(random());
    tree.write(file, garbage);
  }
  const auto findings = tree.check();
  expect_well_formed(findings);
  EXPECT_THAT(findings, Each(Field(&Finding::severity, Severity::Unknown)));
}

TEST(Hostile, FoldersAndPipesWhereFilesShouldBe) {
  Tree tree;
  tree.good();
  for (const char* file : {"proc/meminfo", "proc/self/status", "proc/self/cgroup"}) {
    tree.remove(file);
    std::filesystem::create_directories(tree.root() / file);
  }
  tree.remove("proc/cpuinfo");
  ASSERT_EQ(mkfifo((tree.root() / "proc/cpuinfo").c_str(), 0600), 0) << "reading it would wait for ever";
  expect_well_formed(tree.check());
  EXPECT_EQ(tree.finding("instruction_sets").severity, Severity::Unknown);
}

TEST(Lists, AreReadStrictly) {
  using system_files::parse_list;
  EXPECT_THAT(*parse_list("0-2,5,7-8\n"), ElementsAre(0, 1, 2, 5, 7, 8));
  EXPECT_THAT(*parse_list(" \n"), IsEmpty());
  for (const char* wrong : {"1-", "-1", "2-1", "0,0", "0-3,2", "a", "0x1", "0,,1", "16384", "1 2"}) {
    EXPECT_FALSE(parse_list(wrong).has_value()) << wrong;
  }
  EXPECT_EQ(system_files::list_text({0, 1, 2, 5, 7, 8}), "0-2,5,7-8");
}

// This machine -------------------------------------------------------------------------------------------------------

TEST(ThisMachine, GivesWellFormedFindings) { expect_well_formed(check_system({}, simd_level())); }

TEST(ThisMachine, HwlocAndTheFilesAgreeOnCoresAndNodes) {
  const auto hwloc = topology_of_this_machine();
  ASSERT_TRUE(hwloc);
  const auto files = topology_from_files("/");
  if (!files) GTEST_SKIP() << "this kernel does not show its cores";
  EXPECT_EQ(hwloc->cpus(), files->cpus());
  EXPECT_EQ((std::set(hwloc->cores.begin(), hwloc->cores.end())), (std::set(files->cores.begin(), files->cores.end())));
  EXPECT_EQ(hwloc->packages, files->packages);
  if (files->nodes.empty()) return;
  ASSERT_EQ(hwloc->nodes.size(), files->nodes.size());
  for (std::size_t i = 0; i < files->nodes.size(); ++i) EXPECT_EQ(hwloc->nodes[i].cpus, files->nodes[i].cpus);
}

TEST(ThisMachine, TheFlagsSayWhatTheOperationsUse) {
  if (!std::filesystem::exists("/proc/cpuinfo")) GTEST_SKIP() << "this system has no /proc/cpuinfo";
  const std::string level(simd_level());
  const Finding f = check_system()[6];
  if (f.severity == Severity::Unknown) GTEST_SKIP() << f.detail;
  EXPECT_THAT(f.title, HasSubstr(level == "none" ? "Scalar" : level));
}

TEST(ThisMachine, PhysicalCoresFollowTheAffinityMask) {
  const int all = physical_cores();
  EXPECT_GE(all, 1);
  EXPECT_LE(all, static_cast<int>(std::thread::hardware_concurrency()));
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(physical_cores(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(physical_cores(), all);
}

}  // namespace
}  // namespace krasis
