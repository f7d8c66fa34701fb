-- How an account proves who it is: password | key | key+password | any.
ALTER TABLE accounts ADD COLUMN auth TEXT NOT NULL DEFAULT 'any';

-- A key that opens the account by itself, or an authority whose certificates do.
-- principals: names that its certificates must carry one of, with commas; empty:
-- the account's own name.
ALTER TABLE account_keys ADD COLUMN authority BIGINT NOT NULL DEFAULT 0;
ALTER TABLE account_keys ADD COLUMN principals TEXT NOT NULL DEFAULT '';
