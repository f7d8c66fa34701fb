-- Must a data connection over FTPS resume its control connection's TLS session:
-- auto | require | off; none: the appliance's rule.
ALTER TABLE accounts ADD COLUMN session_reuse TEXT;

-- TLS certificates that open an account over FTPS: one by itself (authority 0),
-- or an authority whose certificates do when they bear one of `names`, which
-- have commas between them.
CREATE TABLE account_certificates (
    id            BIGIDENTITY,
    account_id    BIGINT NOT NULL REFERENCES accounts (id),
    fingerprint   TEXT NOT NULL,
    subject       TEXT NOT NULL,
    der           BYTES NOT NULL,
    not_before_us BIGINT NOT NULL,
    not_after_us  BIGINT NOT NULL,
    authority     BIGINT NOT NULL,
    names         TEXT NOT NULL,
    added_at_us   BIGINT NOT NULL,
    UNIQUE (account_id, fingerprint)
);
