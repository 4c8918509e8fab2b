# Tests of models/.
