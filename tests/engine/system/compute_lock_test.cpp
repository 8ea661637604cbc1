// One worker of a user computes on a machine: the lock, and who computed in spite of it.
#include "engine/system/compute_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/system/other_workers.h"
#include "tests/engine/system/tree.h"

namespace krasis {
namespace {

using test::Tree;
using testing::HasSubstr;
using testing::Not;

TEST(ComputeLock, OneHolderAtATime) {
  const Tree tree;
  ComputeLock first(tree.root() / "lock"), second(tree.root() / "lock");
  EXPECT_EQ(first.take("a benchmark"), true);
  EXPECT_EQ(second.take("a chat"), false);
  EXPECT_THAT(second.holder(), HasSubstr("a benchmark of process " + std::to_string(::getpid()) + ", since 20"));
  EXPECT_EQ(first.take("a benchmark"), true) << "its own lock is no obstacle";
  first.give_back();
  EXPECT_EQ(second.take("a chat"), true);
  EXPECT_EQ(first.take("a benchmark"), false);
  EXPECT_THAT(first.holder(), HasSubstr("a chat of process"));
}

TEST(ComputeLock, AKilledHolderLetsGo) {
  const Tree tree;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ComputeLock lock(tree.root() / "lock");
    const bool taken = lock.take("a benchmark").value_or(false);
    (void)!::write(ready[1], taken ? "y" : "n", 1);
    for (;;) ::pause();
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  ComputeLock lock(tree.root() / "lock");
  EXPECT_EQ(lock.take("a chat"), false);
  EXPECT_THAT(lock.holder(), HasSubstr("process " + std::to_string(child)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(lock.take("a chat"), true);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(ComputeLock, WhatIsNoFileOfThisUserIsRefused) {
  Tree tree;
  tree.write("victim", "precious");
  std::filesystem::create_symlink(tree.root() / "victim", tree.root() / "link");
  ASSERT_EQ(::mkfifo((tree.root() / "pipe").c_str(), 0600), 0);
  for (const char* name : {"link", "pipe", "no/such/folder"}) {
    ComputeLock lock(tree.root() / name);
    const auto taken = lock.take("a benchmark");
    ASSERT_FALSE(taken) << name;
    EXPECT_EQ(taken.error().code, ErrorCode::Io);
    EXPECT_FALSE(taken.error().remedy.empty());
    EXPECT_EQ(lock.holder(), "");
  }
  EXPECT_EQ(std::filesystem::file_size(tree.root() / "victim"), 8u);
}

TEST(ComputeLock, LiesInTheRuntimeFolder) {
  const Tree tree;
  const char* const before = std::getenv("XDG_RUNTIME_DIR");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("XDG_RUNTIME_DIR", tree.root().c_str(), 1);
  EXPECT_EQ(ComputeLock::default_path(), tree.root() / "krasis-compute.lock");
  ::setenv("XDG_RUNTIME_DIR", "", 1);
  EXPECT_THAT(ComputeLock::default_path().string(), HasSubstr(std::to_string(::geteuid())));
  before == nullptr ? ::unsetenv("XDG_RUNTIME_DIR") : ::setenv("XDG_RUNTIME_DIR", kept.c_str(), 1);
}

/// A process in an invented /proc. @param cpu_s  CPU time so far, half of it in the system
void write_process(Tree& tree, int pid, const std::string& comm, const std::string& cmdline, double cpu_s,
                   int started = 77) {
  const std::string folder = fmt::format("proc/{}/", pid);
  const auto half = static_cast<long>(cpu_s / 2 * static_cast<double>(::sysconf(_SC_CLK_TCK)));
  tree.write(folder + "comm", comm + "\n").write(folder + "cmdline", cmdline);
  tree.write(folder + "stat",
             fmt::format("{} ({}) S 1 2 3 4 5 6 7 8 9 10 {} {} 0 0 20 0 1 0 {} 0 0\n", pid, comm, half, half, started));
}

const std::string kWorker("/opt/krasis\0worker\0", 19);

TEST(OtherWorkers, SeesWhoComputedMeanwhile) {
  Tree tree;
  write_process(tree, 10, "krasis", kWorker, 100);
  write_process(tree, 11, "cc1plus", std::string("cc1plus\0worker\0", 15), 0);
  write_process(tree, 12, "krasis", std::string("krasis\0bench\0x.toml\0", 20), 0);
  OtherWorkers others(tree.root());
  EXPECT_EQ(others.disturbance(), "");
  write_process(tree, 10, "krasis", kWorker, 107.5);
  write_process(tree, 11, "cc1plus", std::string("cc1plus\0worker\0", 15), 50);
  write_process(tree, 12, "krasis", std::string("krasis\0bench\0x.toml\0", 20), 50);
  write_process(tree, 13, "krasis a) b", std::string("krasis\0chat\0", 12), 3);  // began later: all of it counts
  others.look();
  tree.remove("proc/10");  // what it used stays known
  others.look();
  const std::string text = others.disturbance();
  EXPECT_THAT(text, HasSubstr("krasis worker (process 10, user id " + std::to_string(::getuid()) +
                              ") computed meanwhile: 7.5 s of CPU time"));
  EXPECT_THAT(text, HasSubstr("krasis chat (process 13"));
  EXPECT_THAT(text, Not(HasSubstr("process 11")));
  EXPECT_THAT(text, Not(HasSubstr("process 12")));
}

TEST(OtherWorkers, WhoOnlyWaitsDoesNotCount) {
  Tree tree;
  write_process(tree, 10, "krasis", kWorker, 5);
  OtherWorkers others(tree.root());
  write_process(tree, 10, "krasis", kWorker, 5.1);
  write_process(tree, 14, "krasis", kWorker, 0.1);
  others.look();
  EXPECT_EQ(others.disturbance(), "");
}

TEST(OtherWorkers, APidThatIsGivenAgainIsAnotherProcess) {
  Tree tree;
  write_process(tree, 10, "krasis", kWorker, 500, 77);
  OtherWorkers others(tree.root());
  write_process(tree, 10, "krasis", kWorker, 0.1, 99);
  others.look();
  EXPECT_EQ(others.disturbance(), "");
  write_process(tree, 10, "krasis", kWorker, 4.1, 99);
  others.look();
  EXPECT_THAT(others.disturbance(), HasSubstr("4.1 s of CPU time"));
}

TEST(OtherWorkers, BrokenFilesAreNobody) {
  Tree tree;
  OtherWorkers none(tree.root());  // no /proc at all
  EXPECT_EQ(none.disturbance(), "");
  write_process(tree, 10, "krasis", kWorker, 0);
  OtherWorkers others(tree.root());
  tree.write("proc/10/stat", "10 (krasis").write("proc/11/comm", "krasis").write("proc/12", "a file");
  others.look();
  EXPECT_EQ(others.disturbance(), "");
}

}  // namespace
}  // namespace krasis
