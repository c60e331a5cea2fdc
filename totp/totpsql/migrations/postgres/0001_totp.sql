-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_totp_factors (
	tenant         text COLLATE "C" NOT NULL,
	user_id        text COLLATE "C" NOT NULL,
	secret         bytea NOT NULL,
	enrolled_at    bigint NOT NULL,
	last_step      bigint NOT NULL,
	failures       integer NOT NULL,
	total_failures integer NOT NULL,
	pending        bytea NOT NULL,
	pending_at     bigint NOT NULL,
	PRIMARY KEY (tenant, user_id)
);
CREATE TABLE IF NOT EXISTS authkit_totp_codes (
	tenant     text COLLATE "C" NOT NULL,
	user_id    text COLLATE "C" NOT NULL,
	hash       bytea NOT NULL,
	created_at bigint NOT NULL,
	PRIMARY KEY (tenant, user_id, hash)
);
