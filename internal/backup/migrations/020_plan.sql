-- +goose Up
CREATE TABLE plan (
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    version    TEXT   NOT NULL, -- the current one
    request_id TEXT   NOT NULL,
    digest     TEXT   NOT NULL, -- of the current document, to find identical plans
    created    BIGINT NOT NULL,
    deleted    BIGINT NOT NULL, -- 0: not
    last_run   BIGINT NOT NULL, -- 0: never
    PRIMARY KEY (account, region, id)
);
CREATE INDEX plan_by_age ON plan (account, region, created, id);
CREATE INDEX plan_by_digest ON plan (account, region, digest);

CREATE TABLE plan_version (
    account  TEXT   NOT NULL,
    region   TEXT   NOT NULL,
    plan_id  TEXT   NOT NULL,
    version  TEXT   NOT NULL,
    number   BIGINT NOT NULL, -- 1, 2, ...
    document TEXT   NOT NULL, -- JSON
    created  BIGINT NOT NULL,
    PRIMARY KEY (account, region, plan_id, version),
    UNIQUE (account, region, plan_id, number)
);

-- When the rules of the current versions are due. next_at is 0 when a rule has no run left.
CREATE TABLE plan_rule (
    account     TEXT   NOT NULL,
    region      TEXT   NOT NULL,
    plan_id     TEXT   NOT NULL,
    rule_id     TEXT   NOT NULL,
    anchor      BIGINT NOT NULL, -- since when the rule has its schedule: rates count from here
    next_at     BIGINT NOT NULL,
    advanced_at BIGINT NOT NULL, -- what the clock said when next_at was set
    PRIMARY KEY (account, region, plan_id, rule_id)
);
CREATE INDEX plan_rule_due ON plan_rule (next_at) WHERE next_at > 0;
CREATE INDEX plan_rule_advanced ON plan_rule (advanced_at);

CREATE TABLE selection (
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    plan_id    TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    by_tag     BIGINT NOT NULL, -- 1: has ListOfTags, of which a plan may have fewer
    document   TEXT   NOT NULL, -- JSON
    created    BIGINT NOT NULL,
    PRIMARY KEY (account, region, plan_id, id)
);
