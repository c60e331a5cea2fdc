-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_totp_factors (
	tenant         varbinary(64) NOT NULL,
	user_id        varbinary(255) NOT NULL,
	secret         varbinary(255) NOT NULL,
	enrolled_at    bigint NOT NULL,
	last_step      bigint NOT NULL,
	failures       integer NOT NULL,
	total_failures integer NOT NULL,
	pending        varbinary(255) NOT NULL,
	pending_at     bigint NOT NULL,
	PRIMARY KEY (tenant, user_id)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS authkit_totp_codes (
	tenant     varbinary(64) NOT NULL,
	user_id    varbinary(255) NOT NULL,
	hash       binary(32) NOT NULL,
	created_at bigint NOT NULL,
	PRIMARY KEY (tenant, user_id, hash)
) ENGINE = InnoDB;
