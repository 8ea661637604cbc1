-- A database as schema version 7 made it: import_runs() of commit 52407ec, dumped, with one run that was going added by
-- hand (2, its owner on another boot). Frozen: never follows the program.
PRAGMA application_id = 1263681875;
PRAGMA user_version = 7;
CREATE TABLE annotations (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  time TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('note', 'tags')),
  text TEXT NOT NULL
);
INSERT INTO "annotations" VALUES(1,1,'2026-11-29T13:18:11.210Z','note','kept from schema 7');
CREATE TABLE environments (
  id INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  machine TEXT NOT NULL,
  cpu TEXT NOT NULL,
  memory_bytes INTEGER NOT NULL,
  gpu TEXT NOT NULL,
  driver TEXT NOT NULL,
  kernel TEXT NOT NULL,
  build TEXT NOT NULL,
  facts TEXT NOT NULL,
  ceilings TEXT NOT NULL
);
INSERT INTO "environments" VALUES(1,'["Old machine","Old CPU",1024,"","","Linux 5","build-1","{}","{}"]','Old machine','Old CPU',1024,'','','Linux 5','build-1','{}','{}');
CREATE TABLE log (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  time TEXT NOT NULL,
  level TEXT NOT NULL,
  stage TEXT NOT NULL,
  text TEXT NOT NULL
);
INSERT INTO "log" VALUES(1,1,'2026-01-01T00:00:02Z','info','load','loaded');
CREATE TABLE models (
  id INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  model_type TEXT NOT NULL,
  architecture TEXT NOT NULL,
  synthetic INTEGER NOT NULL CHECK (synthetic IN (0, 1))
);
INSERT INTO "models" VALUES(1,'sha256:old','Old-MoE','qwen3_moe','5 layers',0);
CREATE TABLE repetitions (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  warm_up INTEGER NOT NULL CHECK (warm_up IN (0, 1)),
  number INTEGER NOT NULL CHECK (number >= 0),
  measured_at TEXT NOT NULL,
  prefill_tokens INTEGER NOT NULL,
  prefill_s REAL NOT NULL,
  ttft_s REAL NOT NULL,
  decode_tokens INTEGER NOT NULL,
  decode_s REAL NOT NULL,
  decode_token_s BLOB NOT NULL,
  metrics TEXT NOT NULL,
  output_text TEXT NOT NULL,
  UNIQUE (run_id, warm_up, number)
);
INSERT INTO "repetitions" VALUES(1,1,0,0,'2026-01-01T00:00:30Z',512,0.5,0.51,4,1.0,X'000000000000D03F000000000000D03F000000000000D03F000000000000D03F','{}','once upon a time');
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid TEXT NOT NULL UNIQUE,
  created_at TEXT NOT NULL,
  started_at TEXT NOT NULL DEFAULT '',
  finished_at TEXT NOT NULL DEFAULT '',
  sweep TEXT NOT NULL,
  model_id INTEGER NOT NULL REFERENCES models (id),
  environment_id INTEGER REFERENCES environments (id),
  device TEXT NOT NULL,
  operations TEXT NOT NULL,
  device_count INTEGER NOT NULL,
  lgs INTEGER NOT NULL,
  hcs TEXT NOT NULL,
  hcs_share REAL NOT NULL,
  vram_budget_mib INTEGER NOT NULL,
  threads INTEGER NOT NULL,
  gpu_bits INTEGER NOT NULL,
  cpu_bits INTEGER NOT NULL,
  attention_bits INTEGER NOT NULL,
  dense_mlp_bits INTEGER NOT NULL,
  lm_head_bits INTEGER NOT NULL,
  group_size INTEGER NOT NULL,
  kv_cache TEXT NOT NULL,
  chunk_tokens INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL,
  decode_tokens INTEGER NOT NULL,
  warmups INTEGER NOT NULL,
  repetitions INTEGER NOT NULL,
  seed INTEGER NOT NULL,
  prompt_fingerprint TEXT NOT NULL,
  configuration TEXT NOT NULL,
  plan TEXT NOT NULL,
  status TEXT NOT NULL
    CHECK (status IN ('queued', 'running', 'done', 'failed', 'crashed', 'cancelled', 'out_of_memory')),
  position INTEGER NOT NULL DEFAULT 0,
  verdict TEXT NOT NULL DEFAULT 'none' CHECK (verdict IN ('none', 'pass', 'fail')),
  verdict_figure TEXT NOT NULL DEFAULT '',
  verdict_value REAL,
  verdict_threshold REAL,
  cause TEXT NOT NULL DEFAULT '',
  remedy TEXT NOT NULL DEFAULT '',
  stage TEXT NOT NULL DEFAULT '',
  signal INTEGER NOT NULL DEFAULT 0
, owner TEXT NOT NULL DEFAULT '', prefill_path TEXT NOT NULL DEFAULT 'stream', gpus TEXT NOT NULL DEFAULT 'all', telemetry TEXT NOT NULL DEFAULT '{}', hcs_policy TEXT NOT NULL DEFAULT 'static', attention TEXT NOT NULL DEFAULT 'resident', numa TEXT NOT NULL DEFAULT 'interleave');
INSERT INTO "runs" VALUES(1,'00000000-0000-4000-8000-000000000007','2026-01-01T00:00:00Z','2026-01-01T00:00:01Z','2026-01-01T00:01:00Z','old',1,1,'host','simd',1,2,'on',0.25,0,8,4,4,8,8,8,128,'bf16',512,512,4,0,1,0,'p','{}','{}','done',1,'pass','KL divergence',0.01,0.1,'','','',0,'','cpu','0,2','{"decode":{}}','adaptive','streamed','shards');
CREATE INDEX runs_by_status ON runs (status, position);
CREATE INDEX runs_by_sweep ON runs (sweep);
CREATE INDEX runs_by_model ON runs (model_id);
CREATE INDEX runs_by_environment ON runs (environment_id);
CREATE INDEX runs_by_device ON runs (device, device_count);
CREATE INDEX runs_by_lgs ON runs (lgs);
CREATE INDEX runs_by_hcs ON runs (hcs);
CREATE INDEX runs_by_gpu_bits ON runs (gpu_bits);
CREATE INDEX runs_by_cpu_bits ON runs (cpu_bits);
CREATE INDEX runs_by_attention_bits ON runs (attention_bits);
CREATE INDEX runs_by_lm_head_bits ON runs (lm_head_bits);
CREATE INDEX runs_by_kv_cache ON runs (kv_cache);
CREATE INDEX runs_by_prompt ON runs (prompt_tokens, prompt_fingerprint);
CREATE INDEX runs_by_decode_tokens ON runs (decode_tokens);
CREATE INDEX runs_by_seed ON runs (seed);
CREATE INDEX log_by_run ON log (run_id, id);
CREATE INDEX annotations_by_run ON annotations (run_id, kind, id);
CREATE TRIGGER runs_final BEFORE UPDATE ON runs WHEN OLD.status NOT IN ('queued', 'running')
BEGIN SELECT RAISE(ABORT, 'a run that has ended is never changed'); END;
CREATE TRIGGER runs_kept BEFORE DELETE ON runs WHEN OLD.status <> 'queued'
BEGIN SELECT RAISE(ABORT, 'a run that has started is never deleted'); END;
CREATE TRIGGER repetitions_of_running BEFORE INSERT ON repetitions
WHEN NOT EXISTS (SELECT 1 FROM runs WHERE id = NEW.run_id AND status = 'running')
BEGIN SELECT RAISE(ABORT, 'only a run that is running takes repetitions'); END;
CREATE TRIGGER repetitions_final BEFORE UPDATE ON repetitions
BEGIN SELECT RAISE(ABORT, 'a stored repetition is never changed'); END;
CREATE TRIGGER repetitions_kept BEFORE DELETE ON repetitions
BEGIN SELECT RAISE(ABORT, 'a stored repetition is never deleted'); END;
CREATE TRIGGER log_final BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'a stored log line is never changed'); END;
CREATE TRIGGER log_kept BEFORE DELETE ON log
WHEN EXISTS (SELECT 1 FROM runs WHERE id = OLD.run_id AND status <> 'queued')
BEGIN SELECT RAISE(ABORT, 'a stored log line is never deleted'); END;
CREATE TRIGGER annotations_final BEFORE UPDATE ON annotations
BEGIN SELECT RAISE(ABORT, 'an annotation is replaced by a newer one, never changed'); END;
CREATE TRIGGER annotations_kept BEFORE DELETE ON annotations
WHEN EXISTS (SELECT 1 FROM runs WHERE id = OLD.run_id AND status <> 'queued')
BEGIN SELECT RAISE(ABORT, 'an annotation is never deleted'); END;
INSERT INTO runs (id, uuid, created_at, started_at, sweep, model_id, environment_id, device, operations, device_count, lgs,
  hcs, hcs_share, vram_budget_mib, threads, gpu_bits, cpu_bits, attention_bits, dense_mlp_bits, lm_head_bits, group_size,
  kv_cache, chunk_tokens, prompt_tokens, decode_tokens, warmups, repetitions, seed, prompt_fingerprint, configuration, plan,
  status, owner)
VALUES (2, '00000000-0000-4000-8000-000000000077', '2026-01-01T00:02:00Z', '2026-01-01T00:02:01Z', 'old', 1, 1, 'host',
  'simd', 1, 4, 'off', 0.5, 4096, 8, 4, 4, 8, 8, 8, 128, 'bf16', 512, 512, 4, 0, 1, 1, 'p', '{}', '{}', 'running',
  '6f1b0c9e-0000-4000-8000-000000000000:4711:123456');
