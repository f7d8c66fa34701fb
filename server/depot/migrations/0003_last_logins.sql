-- The last login of each account is read from the journal, without walking
-- through its transfers.
CREATE INDEX journal_logins ON journal (account, at_us) WHERE action = 'login' AND outcome = 'ok';
