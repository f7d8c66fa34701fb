-- Every publication writes and deletes a claim, and there are few at any time:
-- one tree of pages for them instead of three.
DROP INDEX path_claims_node;
ALTER TABLE path_claims RENAME TO path_claims_before;
CREATE TABLE path_claims (
    home_id       BIGINT NOT NULL REFERENCES homes (id),
    path          BYTES NOT NULL,
    kind          TEXT NOT NULL,
    file_id       BIGINT,
    -- for a move: both ends carry the same pair
    from_path     BYTES,
    to_path       BYTES,
    inode         BIGINT,
    born_us       BIGINT,
    node_id       TEXT NOT NULL,
    claimed_at_us BIGINT NOT NULL,
    PRIMARY KEY (home_id, path)
) KEYONLY;
INSERT INTO path_claims SELECT * FROM path_claims_before;
DROP TABLE path_claims_before;
