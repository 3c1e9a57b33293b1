module gyre/crash

go 1.16
