-- Whether the task of a message has ended.
CREATE INDEX tasks_by_message ON tasks (message_id);
