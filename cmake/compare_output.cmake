# Run by ctest: PROGRAM must exit with 0 and print exactly what the file EXPECTED holds. ARGUMENTS, if any, are separated
# by |.
string(REPLACE "|" ";" ARGUMENTS "${ARGUMENTS}")
if(NOT EXISTS "${EXPECTED}")
  message(FATAL_ERROR "${EXPECTED} is missing: run the example, read what it prints, and commit that")
endif()
execute_process(COMMAND "${PROGRAM}" ${ARGUMENTS} RESULT_VARIABLE result OUTPUT_VARIABLE printed ERROR_VARIABLE errors)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} ended with ${result}\n${printed}${errors}")
endif()
file(READ "${EXPECTED}" expected)
if(NOT printed STREQUAL expected)
  message(FATAL_ERROR "the output differs from ${EXPECTED}\n--- expected\n${expected}--- printed\n${printed}")
endif()
