-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_users (
	tenant        varbinary(64) NOT NULL,
	id            varbinary(255) NOT NULL,
	email         varbinary(254) NOT NULL,
	full_name     text CHARACTER SET utf8mb4 NOT NULL,
	roles         mediumtext CHARACTER SET utf8mb4 NOT NULL,
	disabled      boolean NOT NULL,
	password_hash varbinary(1024) NOT NULL,
	valid_from    bigint NOT NULL,
	created_at    bigint NOT NULL,
	updated_at    bigint NOT NULL,
	version       bigint NOT NULL,
	PRIMARY KEY (tenant, id),
	UNIQUE KEY authkit_users_email (tenant, email)
) ENGINE = InnoDB;
