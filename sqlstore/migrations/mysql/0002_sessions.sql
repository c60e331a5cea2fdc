-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_sessions (
	tenant       varbinary(64) NOT NULL,
	id           varbinary(255) NOT NULL,
	user_id      varbinary(255) NOT NULL,
	device       varbinary(1024) NOT NULL,
	address      varbinary(255) NOT NULL,
	created_at   bigint NOT NULL,
	last_used_at bigint NOT NULL,
	expires_at   bigint NOT NULL,
	ends_at      bigint NOT NULL,
	token_hash   varbinary(32) NOT NULL,
	parent_hash  varbinary(32) NOT NULL,
	rotated_at   bigint NOT NULL,
	successor    varbinary(1024) NOT NULL,
	PRIMARY KEY (tenant, id),
	KEY authkit_sessions_user (tenant, user_id),
	KEY authkit_sessions_expiry (tenant, expires_at)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS authkit_session_owners (
	tenant  varbinary(64) NOT NULL,
	user_id varbinary(255) NOT NULL,
	version bigint NOT NULL,
	PRIMARY KEY (tenant, user_id)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS authkit_revocations (
	seq        bigint NOT NULL AUTO_INCREMENT,
	tenant     varbinary(64) NOT NULL,
	revoked_at bigint NOT NULL,
	user_id    varbinary(255) NOT NULL,
	session_id varbinary(255) NOT NULL,
	PRIMARY KEY (seq),
	KEY authkit_revocations_time (tenant, revoked_at)
) ENGINE = InnoDB;
