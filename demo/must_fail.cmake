# Run by ctest: the demo is told to corrupt what it verifies. It must say which fault it found and exit with 1.
set(lose "lost +1 ")
set(double "seen twice +1 ")
set(reorder "out of order +1 ")
set(damage "damaged +1 ")
execute_process(COMMAND "${PROGRAM}" --seconds 2 --break ${FAULT} RESULT_VARIABLE result OUTPUT_VARIABLE printed
  ERROR_VARIABLE errors)
if(NOT result EQUAL 1)
  message(FATAL_ERROR "a record was spoilt (${FAULT}), but the demo ended with ${result}\n${printed}${errors}")
endif()
if(NOT printed MATCHES "${${FAULT}}")
  message(FATAL_ERROR "a record was spoilt (${FAULT}), but the table does not say '${${FAULT}}'\n${printed}${errors}")
endif()
