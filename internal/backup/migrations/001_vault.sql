-- +goose Up
CREATE TABLE vault (
    account            TEXT   NOT NULL,
    region             TEXT   NOT NULL,
    name               TEXT   NOT NULL,
    repository         TEXT   NOT NULL UNIQUE, -- random; a vault made again under the same name gets another one
    key_arn            TEXT   NOT NULL,
    key_grant          TEXT   NOT NULL,
    service_key        BIGINT NOT NULL, -- 1: under the account's alias/aws/backup
    creator_request_id TEXT   NOT NULL,
    created            BIGINT NOT NULL,
    points             BIGINT NOT NULL, -- recovery points of any status
    policy             TEXT   NOT NULL,
    locked             BIGINT NOT NULL,
    min_retention      BIGINT, -- days
    max_retention      BIGINT, -- days
    lock_date          BIGINT NOT NULL, -- 0: governance
    immutable          BIGINT NOT NULL, -- 1: lock_date was seen to have passed; never goes back
    topic_arn          TEXT   NOT NULL,
    events             TEXT   NOT NULL, -- JSON list
    PRIMARY KEY (account, region, name)
);
CREATE INDEX vault_sealing ON vault (lock_date) WHERE lock_date > 0 AND immutable = 0;

-- What is left to clean up after a vault: its key grant and, once pruned, its bytes.
CREATE TABLE retired_repository (
    repository TEXT   NOT NULL PRIMARY KEY,
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    vault      TEXT   NOT NULL,
    key_arn    TEXT   NOT NULL,
    key_grant  TEXT   NOT NULL,
    retired    BIGINT NOT NULL
);
