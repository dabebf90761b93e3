package eventlog_test

func asOrdinaryUser(f func() error) error { return f() }
