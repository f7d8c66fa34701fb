-- How much an account may use at a time, and how its sessions are secured.

-- max_sessions: live sessions, on all servers together
-- upload_bytes_per_s, download_bytes_per_s: of all its sessions on one server together
-- none: no limit
ALTER TABLE accounts ADD COLUMN max_sessions BIGINT;
ALTER TABLE accounts ADD COLUMN upload_bytes_per_s BIGINT;
ALTER TABLE accounts ADD COLUMN download_bytes_per_s BIGINT;

-- agreed: protocol version, cipher and the like, as JSON; none: begun before this step
ALTER TABLE sessions ADD COLUMN agreed TEXT;
CREATE INDEX sessions_account ON sessions (account_id);
