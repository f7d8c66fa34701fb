-- Flows know how far an upload came, and forget what is gone.

-- last_step: of an upload that was about to get its name at the partner's: what to look
-- for there when nobody came to say how that went (JSON)
ALTER TABLE flow_files ADD COLUMN last_step TEXT;

-- census: how many times all files of the source were counted; census_at_us: when last
ALTER TABLE flow_definitions ADD COLUMN census BIGINT NOT NULL DEFAULT 0;
ALTER TABLE flow_definitions ADD COLUMN census_at_us BIGINT;

-- census: the last one that found the key's file at its source; none: written before this
--   step and not found since, which is kept: nobody can say whose it is
-- other_key: the second key of the same file, which is found with this one
ALTER TABLE flow_keys ADD COLUMN census BIGINT;
ALTER TABLE flow_keys ADD COLUMN other_key BYTES;

-- source_file: of an upload: the file's number in the ledger (files.id); another content of
-- the name has another one
-- after_done of a file that is dead: 1 once it was looked at anew
ALTER TABLE flow_files ADD COLUMN source_file BIGINT;
CREATE INDEX flow_files_dead ON flow_files (flow, name) WHERE state = 'dead' AND after_done = 0;
