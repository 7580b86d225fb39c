-- +goose Up
-- Names are unique in an account without regard to case: name_key is the lower-case form. Everything that hangs on an
-- entity refers to its unique id, which is never used again, so that a new entity of the same name inherits nothing.
CREATE TABLE iam_accounts (
    account TEXT PRIMARY KEY,
    created BIGINT NOT NULL,
    changes BIGINT NOT NULL,
    alias TEXT NOT NULL DEFAULT ''
);

CREATE TABLE iam_users (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES iam_accounts (account),
    name_key TEXT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    created BIGINT NOT NULL,
    boundary TEXT NOT NULL,
    UNIQUE (account, name_key)
);

CREATE TABLE iam_groups (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES iam_accounts (account),
    name_key TEXT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (account, name_key)
);

CREATE TABLE iam_members (
    group_id TEXT NOT NULL REFERENCES iam_groups (id),
    user_id TEXT NOT NULL REFERENCES iam_users (id),
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX iam_members_user ON iam_members (user_id);

-- trust is the document as the caller gave it; trust_ids maps each user and role named in it to the unique id it had then.
-- sessions issued before valid_from are refused.
CREATE TABLE iam_roles (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES iam_accounts (account),
    name_key TEXT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    created BIGINT NOT NULL,
    boundary TEXT NOT NULL,
    description TEXT NOT NULL,
    max_session BIGINT NOT NULL,
    trust TEXT NOT NULL,
    trust_ids TEXT NOT NULL,
    service TEXT NOT NULL,
    valid_from BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    last_region TEXT NOT NULL,
    UNIQUE (account, name_key)
);

-- owner is a user's id, or the account id for keys of its root user. secret is sealed with the key's id as associated data.
CREATE TABLE iam_access_keys (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES iam_accounts (account),
    owner TEXT NOT NULL,
    active BIGINT NOT NULL,
    secret BLOB NOT NULL,
    created BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    last_service TEXT NOT NULL,
    last_region TEXT NOT NULL
);
CREATE INDEX iam_access_keys_owner ON iam_access_keys (owner);

-- +goose Down
DROP TABLE iam_access_keys;
DROP TABLE iam_roles;
DROP TABLE iam_members;
DROP TABLE iam_groups;
DROP TABLE iam_users;
DROP TABLE iam_accounts;
