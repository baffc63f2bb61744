ALTER TABLE jobs SET (fillfactor = 40);
ALTER TABLE tasks SET (fillfactor = 50);
ALTER TABLE counters SET (fillfactor = 10);
