-- +goose Up
CREATE TABLE region_setting (
    account TEXT NOT NULL,
    region  TEXT NOT NULL,
    opt_in  TEXT NOT NULL, -- JSON: type to bool, only what was set
    manage  TEXT NOT NULL, -- JSON: type to bool, only what was set
    PRIMARY KEY (account, region)
);

CREATE TABLE global_setting (
    organization TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    value        TEXT   NOT NULL,
    updated      BIGINT NOT NULL,
    PRIMARY KEY (organization, name)
);

-- Tags of vaults, plans and recovery points: one row per tagged thing.
CREATE TABLE backup_tag (
    arn  TEXT NOT NULL PRIMARY KEY,
    tags TEXT NOT NULL -- JSON
);

-- Secrets that all nodes over this catalog share and that protect nothing but the shape of answers.
CREATE TABLE backup_secret (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);
