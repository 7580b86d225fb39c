-- +goose Up
CREATE TABLE iam_policies (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES iam_accounts (account),
    name_key TEXT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    description TEXT NOT NULL,
    arn TEXT NOT NULL UNIQUE,
    default_version BIGINT NOT NULL,
    last_version BIGINT NOT NULL,
    UNIQUE (account, name_key)
);

CREATE TABLE iam_policy_versions (
    policy TEXT NOT NULL REFERENCES iam_policies (id),
    version BIGINT NOT NULL,
    document TEXT NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (policy, version)
);

-- owner is the id of a user, group or role.
CREATE TABLE iam_inline (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (owner, name)
);

CREATE TABLE iam_attachments (
    owner TEXT NOT NULL,
    policy_arn TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES iam_accounts (account),
    PRIMARY KEY (owner, policy_arn)
);
CREATE INDEX iam_attachments_policy ON iam_attachments (account, policy_arn);

-- owner is the id of a user, role or managed policy. Tag keys are unique without regard to case.
CREATE TABLE iam_tags (
    owner TEXT NOT NULL,
    tag_fold TEXT NOT NULL,
    tag TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (owner, tag_fold)
);

-- +goose Down
DROP TABLE iam_tags;
DROP TABLE iam_attachments;
DROP TABLE iam_inline;
DROP TABLE iam_policy_versions;
DROP TABLE iam_policies;
