-- Nothing looks invoices up by subject; and PostgreSQL needs room on a page to keep a row's versions together.
DROP INDEX invoices_subject;
