-- A database as schema version 8 made it: import_runs() of commit 6bf7806, dumped, with two finished runs and a queued one.
-- Precisions are numbers of bits in it. Frozen: never follows the program.
PRAGMA application_id = 1263681875;
PRAGMA user_version = 8;
CREATE TABLE models (
  id INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  model_type TEXT NOT NULL,
  architecture TEXT NOT NULL,
  synthetic INTEGER NOT NULL CHECK (synthetic IN (0, 1))
);
INSERT INTO models VALUES(1,'sha256:old','Old-MoE','qwen3_moe','5 layers',0);
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
INSERT INTO environments VALUES(1,'["Old machine","Old CPU",1024,"","","Linux 5","build-1","{}","{}"]','Old machine','Old CPU',1024,'','','Linux 5','build-1','{}','{}');
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
, owner TEXT NOT NULL DEFAULT '', prefill_path TEXT NOT NULL DEFAULT 'stream', gpus TEXT NOT NULL DEFAULT 'all', telemetry TEXT NOT NULL DEFAULT '{}', hcs_policy TEXT NOT NULL DEFAULT 'static', attention TEXT NOT NULL DEFAULT 'resident', numa TEXT NOT NULL DEFAULT 'interleave', disturbance TEXT NOT NULL DEFAULT '');
INSERT INTO runs VALUES(1,'00000000-0000-4000-8000-000000000081','2026-01-01T00:01:00Z','2026-01-01T00:00:01Z','2026-01-01T00:01:00Z','old',1,1,'host','simd',1,2,'on',0.25,4096,8,8,4,16,8,4,128,'bf16',512,512,4,0,1,1,'p','{"model":"embedded","device":"host","operations":"simd","device_count":1,"gpus":"0,2","lgs":2,"hcs":"on","hcs_share":0.25,"hcs_policy":"adaptive","vram_budget_mib":4096,"prefill_path":"cpu","attention":"streamed","threads":0,"numa":"shards","gpu_bits":8,"cpu_bits":4,"attention_bits":16,"dense_mlp_bits":8,"lm_head_bits":4,"group_size":128,"kv_cache":"bf16","max_context":4096,"chunk_tokens":512,"prompt_tokens":512,"decode_tokens":4,"warmups":0,"repetitions":1,"temperature":0.0,"top_k":0,"top_p":1.0,"min_p":0.0,"repetition_penalty":1.0,"seed":1,"synthetic_seed":1,"synthetic_skew":0.0}','{}','done',1,'pass','KL divergence',0.010000000000000000208,0.10000000000000000555,'','','',0,'','cpu','0,2','{"decode":{}}','adaptive','streamed','shards','Another worker computed.');
INSERT INTO runs VALUES(2,'00000000-0000-4000-8000-000000000082','2026-01-01T00:02:00Z','2026-01-01T00:00:01Z','2026-01-01T00:01:00Z','old',1,1,'host','simd',1,2,'on',0.25,4096,8,16,16,16,16,16,128,'bf16',512,512,4,0,1,1,'p','{"model":"embedded","device":"host","operations":"simd","device_count":1,"gpus":"0,2","lgs":2,"hcs":"on","hcs_share":0.25,"hcs_policy":"adaptive","vram_budget_mib":4096,"prefill_path":"cpu","attention":"streamed","threads":0,"numa":"shards","gpu_bits":16,"cpu_bits":16,"attention_bits":16,"dense_mlp_bits":16,"lm_head_bits":16,"group_size":128,"kv_cache":"bf16","max_context":4096,"chunk_tokens":512,"prompt_tokens":512,"decode_tokens":4,"warmups":0,"repetitions":1,"temperature":0.0,"top_k":0,"top_p":1.0,"min_p":0.0,"repetition_penalty":1.0,"seed":1,"synthetic_seed":1,"synthetic_skew":0.0}','{}','done',1,'pass','KL divergence',0.010000000000000000208,0.10000000000000000555,'','','',0,'','cpu','0,2','{"decode":{}}','adaptive','streamed','shards','Another worker computed.');
INSERT INTO runs VALUES(3,'00000000-0000-4000-8000-000000000083','2026-01-01T00:03:00Z','','','old',1,NULL,'host','simd',1,2,'on',0.25,4096,8,4,8,8,4,16,128,'bf16',512,512,4,0,1,1,'p','{"model":"embedded","device":"host","operations":"simd","device_count":1,"gpus":"0,2","lgs":2,"hcs":"on","hcs_share":0.25,"hcs_policy":"adaptive","vram_budget_mib":4096,"prefill_path":"cpu","attention":"streamed","threads":0,"numa":"shards","gpu_bits":4,"cpu_bits":8,"attention_bits":8,"dense_mlp_bits":4,"lm_head_bits":16,"group_size":128,"kv_cache":"bf16","max_context":4096,"chunk_tokens":512,"prompt_tokens":512,"decode_tokens":4,"warmups":0,"repetitions":1,"temperature":0.0,"top_k":0,"top_p":1.0,"min_p":0.0,"repetition_penalty":1.0,"seed":1,"synthetic_seed":1,"synthetic_skew":0.0}','{}','queued',1,'none','',NULL,NULL,'','','',0,'','cpu','0,2','{}','adaptive','streamed','shards','');
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
INSERT INTO repetitions VALUES(1,1,0,0,'2026-01-01T00:00:30Z',512,0.5,0.51000000000000000888,4,1.0,X'000000000000d03f000000000000d03f000000000000d03f000000000000d03f','{}','once upon a time');
INSERT INTO repetitions VALUES(2,2,0,0,'2026-01-01T00:00:30Z',512,0.5,0.51000000000000000888,4,1.0,X'000000000000d03f000000000000d03f000000000000d03f000000000000d03f','{}','once upon a time');
CREATE TABLE log (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  time TEXT NOT NULL,
  level TEXT NOT NULL,
  stage TEXT NOT NULL,
  text TEXT NOT NULL
);
INSERT INTO log VALUES(1,1,'2026-01-01T00:00:02Z','info','load','loaded');
INSERT INTO log VALUES(2,2,'2026-01-01T00:00:02Z','info','load','loaded');
CREATE TABLE annotations (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  time TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('note', 'tags')),
  text TEXT NOT NULL
);
INSERT INTO annotations VALUES(1,1,'2026-11-29T16:11:23.628Z','note','kept from schema 8');
INSERT INTO annotations VALUES(2,2,'2026-11-29T16:11:23.629Z','note','kept from schema 8');
CREATE TABLE measuring (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  owner TEXT NOT NULL,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  program TEXT NOT NULL,
  since TEXT NOT NULL,
  renewed_at TEXT NOT NULL
);
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
