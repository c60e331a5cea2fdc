-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_audit (
	tenant    varbinary(64) NOT NULL,
	seq       bigint NOT NULL,
	actor_id  varbinary(255) NOT NULL,
	target_id varbinary(255) NOT NULL,
	body      mediumblob NOT NULL,
	version   bigint NOT NULL DEFAULT 1,
	PRIMARY KEY (tenant, seq),
	KEY authkit_audit_actor (tenant, actor_id, seq),
	KEY authkit_audit_target (tenant, target_id, seq)
) ENGINE = InnoDB;
