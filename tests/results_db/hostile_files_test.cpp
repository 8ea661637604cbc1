#include <unistd.h>

#include <random>

#include "tests/results_db/fixture.h"

namespace krasis::results {
namespace {

class HostileFile : public ::testing::Test {
 protected:
  /// A closed, valid database with some runs.
  void make_database(int runs = 3) {
    Database database = must(Database::open(path));
    for (int i = 0; i < runs; ++i) {
      const RunId id = must(database.enqueue(example_run()));
      must(database.claim(id));
      must(database.append_repetition(id, example_repetition(0)));
      must(database.finish(id, {}));
    }
  }
  Error open_error(OpenMode mode = OpenMode::Create) {
    auto database = Database::open(path, {mode, 50});
    if (database) {
      ADD_FAILURE() << "was opened";
      return {};
    }
    EXPECT_FALSE(database.error().cause.empty());
    EXPECT_FALSE(database.error().remedy.empty()) << database.error().cause;
    return database.error();
  }
  TemporaryFolder folder;
  std::filesystem::path path = folder / "results.db";
};

/// Root may write everywhere: acts as nobody for its lifetime.
class WithoutPrivileges {
 public:
  WithoutPrivileges() : privileged_(::geteuid() == 0) {
    if (privileged_ && ::seteuid(65534) != 0) throw std::runtime_error("cannot drop privileges");
  }
  ~WithoutPrivileges() {
    if (privileged_ && ::seteuid(0) != 0) std::abort();
  }

 private:
  bool privileged_;
};

TEST_F(HostileFile, RandomBytes) {
  std::mt19937 random(1);
  for (const std::size_t size : {1u, 15u, 16u, 99u, 100u, 511u, 512u, 4096u, 100000u}) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    write_all(path, bytes);
    for (const OpenMode mode : {OpenMode::Create, OpenMode::ReadWrite, OpenMode::ReadOnly}) {
      EXPECT_EQ(open_error(mode).code, ErrorCode::Corrupt) << size;
      EXPECT_TRUE(read_all(path) == bytes) << "overwritten";
    }
  }
}

TEST_F(HostileFile, Truncated) {
  make_database(200);
  const std::string whole = read_all(path);
  ASSERT_GT(whole.size(), 20000u);
  for (const std::size_t size :
       {std::size_t{50}, std::size_t{100}, std::size_t{4096}, whole.size() / 2, whole.size() - 1}) {
    const std::string bytes = whole.substr(0, size);
    write_all(path, bytes);
    const auto code = open_error().code;
    EXPECT_EQ(code, ErrorCode::Corrupt) << size;
    EXPECT_TRUE(read_all(path) == bytes) << "overwritten";
  }
}

TEST_F(HostileFile, DamagedPages) {
  make_database(200);
  std::string bytes = read_all(path);
  std::mt19937 random(2);
  for (std::size_t at = 8192; at < bytes.size(); at += 512) {
    for (std::size_t i = 0; i < 16; ++i) bytes[at + i] = static_cast<char>(random());
  }
  write_all(path, bytes);
  EXPECT_EQ(open_error().code, ErrorCode::Corrupt);
  EXPECT_TRUE(read_all(path) == bytes) << "overwritten";
}

TEST_F(HostileFile, NoFileAndNoFolder) {
  EXPECT_EQ(open_error(OpenMode::ReadWrite).code, ErrorCode::NotFound);
  EXPECT_EQ(open_error(OpenMode::ReadOnly).code, ErrorCode::NotFound);
  EXPECT_FALSE(std::filesystem::exists(path));
  path = folder / "missing" / "results.db";
  EXPECT_EQ(open_error().code, ErrorCode::NotFound);
  path.clear();
  EXPECT_EQ(open_error().code, ErrorCode::InvalidArgument);
}

TEST_F(HostileFile, FolderOrPipeAsPath) {
  path = folder.path();
  EXPECT_EQ(open_error().code, ErrorCode::InvalidArgument);
  path = folder / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(open_error().code, ErrorCode::InvalidArgument);
}

TEST_F(HostileFile, EmptyFileBecomesADatabaseOnlyForWriting) {
  write_all(path, "");
  EXPECT_EQ(open_error(OpenMode::ReadOnly).code, ErrorCode::Corrupt);
  EXPECT_EQ(read_all(path), "");
  EXPECT_TRUE(Database::open(path, {OpenMode::ReadWrite, 50}));
}

TEST_F(HostileFile, DatabaseOfAnotherProgram) {
  RawSqlite(path).exec("CREATE TABLE bookmarks (url TEXT)");
  const std::string bytes = read_all(path);
  EXPECT_EQ(open_error().code, ErrorCode::Unsupported);
  EXPECT_TRUE(read_all(path) == bytes) << "overwritten";
  RawSqlite(path).exec("PRAGMA application_id = 7; PRAGMA user_version = 2");
  EXPECT_EQ(open_error().code, ErrorCode::Unsupported);
}

TEST_F(HostileFile, OurMarkWithoutOurTables) {
  const std::string version = std::to_string(Database::current_schema_version());
  RawSqlite(path).exec("PRAGMA application_id = 1263681875; PRAGMA user_version = " + version + "; CREATE TABLE x (y)");
  auto database = Database::open(path, {OpenMode::Create, 50});
  ASSERT_TRUE(database);
  EXPECT_FALSE(database->runs());
  EXPECT_FALSE(database->enqueue(example_run()));
}

TEST_F(HostileFile, OurMarkOfAnEarlierVersionWithoutOurTables) {
  RawSqlite(path).exec("PRAGMA application_id = 1263681875; PRAGMA user_version = 2; CREATE TABLE x (y)");
  EXPECT_NE(open_error().cause.find("results"), std::string::npos);
  RawSqlite raw(path);
  EXPECT_EQ(raw.get("PRAGMA user_version"), "2");
}

TEST_F(HostileFile, SchemaFromTheFutureOpensReadOnly) {
  make_database();
  RawSqlite(path).exec("PRAGMA user_version = 99; ALTER TABLE runs ADD COLUMN energy_j REAL");
  Database database = must(Database::open(path));
  EXPECT_TRUE(database.read_only());
  EXPECT_NE(database.read_only_reason().find("newer"), std::string::npos) << database.read_only_reason();
  EXPECT_EQ(database.schema_version(), 99);
  EXPECT_EQ(must(database.summaries()).size(), 3u);
  const auto refused = database.enqueue(example_run());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::Unsupported);
  EXPECT_NE(refused.error().cause.find("newer"), std::string::npos);
}

TEST_F(HostileFile, LockedForWritingOpensReadOnly) {
  make_database();
  RawSqlite other(path);
  ASSERT_EQ(other.exec("BEGIN IMMEDIATE"), SQLITE_OK);
  Database database = must(Database::open(path, {OpenMode::ReadWrite, 50}));
  EXPECT_TRUE(database.read_only());
  EXPECT_NE(database.read_only_reason().find("locked"), std::string::npos) << database.read_only_reason();
  EXPECT_EQ(must(database.runs()).size(), 3u);
  EXPECT_FALSE(database.enqueue(example_run()));
}

TEST_F(HostileFile, LockedAltogether) {
  make_database();
  RawSqlite other(path);
  ASSERT_EQ(other.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE models SET name = 'x'"), SQLITE_OK);
  EXPECT_EQ(open_error().code, ErrorCode::Conflict);
}

TEST_F(HostileFile, LockedWhileOpenLosesNothing) {
  make_database();
  Database database = must(Database::open(path, {OpenMode::ReadWrite, 50}));
  RawSqlite other(path);
  ASSERT_EQ(other.exec("BEGIN IMMEDIATE"), SQLITE_OK);
  EXPECT_EQ(database.enqueue(example_run()).error().code, ErrorCode::Conflict);
  ASSERT_EQ(other.exec("ROLLBACK"), SQLITE_OK);
  must(database.enqueue(example_run()));
  EXPECT_EQ(must(database.run_count()), 4);
}

TEST_F(HostileFile, WriteProtectedFile) {
  make_database();
  ::chmod(path.c_str(), 0444);
  const WithoutPrivileges scope;
  Database database = must(Database::open(path));
  EXPECT_TRUE(database.read_only());
  EXPECT_NE(database.read_only_reason().find("write-protected"), std::string::npos) << database.read_only_reason();
  EXPECT_EQ(must(database.summaries()).size(), 3u);
}

TEST_F(HostileFile, WriteProtectedFolder) {
  make_database();
  path = folder / "results.db";
  ::chmod(path.c_str(), 0666);
  ::chmod(folder.path().c_str(), 0555);
  const WithoutPrivileges scope;
  {
    Database database = must(Database::open(path));
    EXPECT_TRUE(database.read_only());
    EXPECT_NE(database.read_only_reason().find("write-protected"), std::string::npos) << database.read_only_reason();
    EXPECT_EQ(must(database.runs()).size(), 3u);
    EXPECT_EQ(must(must(Database::open(path, {OpenMode::ReadOnly, 50})).runs()).size(), 3u);
  }
  path = folder / "new.db";
  EXPECT_EQ(open_error().code, ErrorCode::Io);
}

TEST_F(HostileFile, OddNames) {
  for (const char* name :
       {"with blank.db", "100%?x=#.db", ":memory:", "file:x?mode=memory", "ümläut.db", "quote'\".db"}) {
    path = folder / name;
    make_database();
    EXPECT_TRUE(std::filesystem::exists(path)) << name;
    ::chmod(path.c_str(), 0444);
    ::chmod(folder.path().c_str(), 0555);
    {
      const WithoutPrivileges scope;
      EXPECT_EQ(must(must(Database::open(path)).runs()).size(), 3u) << name;
    }
    ::chmod(folder.path().c_str(), 0755);
  }
}

}  // namespace
}  // namespace krasis::results
