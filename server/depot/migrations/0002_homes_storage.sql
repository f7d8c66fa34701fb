-- Which storage the homes lie on: the id in `<homes>/.layover/storage-id`. At
-- most one row; a server on any other storage is refused.
CREATE TABLE homes_storage (
    id             BIGINT PRIMARY KEY,
    storage_id     TEXT NOT NULL,
    recorded_at_us BIGINT NOT NULL
);

-- What is counted in the status: files that went without our doing.
CREATE INDEX files_missing ON files (id) WHERE ended_by = 'missing';
